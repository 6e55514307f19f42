"""The rules of intake: pure, without clock, chance or input and output."""
