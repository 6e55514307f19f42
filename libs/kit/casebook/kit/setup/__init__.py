"""What `casebook init` prepares: schemas and database roles."""
