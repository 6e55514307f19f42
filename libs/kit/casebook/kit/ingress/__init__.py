"""What other systems publish: taken in, put in order, promoted to facts or quarantined."""
