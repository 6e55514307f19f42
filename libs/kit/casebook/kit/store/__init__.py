"""The event store: append under locked heads, the timers that follow from states, its history."""
