"""The read models of dispatch, one file each."""
