"""The read models of quality, one file each."""
