"""The monitoring service: response and resolution clocks, and the KPI table."""
