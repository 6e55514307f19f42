"""The rules of quality, pure."""
