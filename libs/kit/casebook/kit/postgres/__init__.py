"""PostgreSQL: pools, schemas and roles, and the server from a wheel."""
