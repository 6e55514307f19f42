"""What a service knows of its reading: where it is, what it applied, what waits for an operator."""
