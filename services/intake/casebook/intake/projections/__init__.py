"""The read models of intake."""
