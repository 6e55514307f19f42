"""The risk service: the register, and candidates that the log shows (handbook 5)."""
