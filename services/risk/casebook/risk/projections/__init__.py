"""The read models of risk, one file each."""
