"""The routes that every service has: operators, publishers, other services, probes."""
