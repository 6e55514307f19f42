"""The rules of risk, pure."""
