"""Dispatch: who does the work (handbook 2.2, 2.3)."""
