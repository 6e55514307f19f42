"""What every service is built from: event store, log, reader, timers, HTTP, identity."""
