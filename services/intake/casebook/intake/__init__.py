"""The intake service: requests from submission to closure (handbook 2.1, 2.4)."""
