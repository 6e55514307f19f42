"""Read models of monitoring, one file each."""
