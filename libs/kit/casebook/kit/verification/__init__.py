"""Chains, heads, log and folds compared: the proof that history is whole."""
