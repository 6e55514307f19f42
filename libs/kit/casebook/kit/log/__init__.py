"""The shared log in its three forms, and the way from the outbox into it."""
