"""The reader of the log: what was applied, what waits for an operator, what follows from facts."""
