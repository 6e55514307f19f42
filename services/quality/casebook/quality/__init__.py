"""The quality service: surveys, controls, nonconformities, links (handbook 1.3, 3, 4.3)."""
