"""The rules of dispatch, pure: work orders, teams, agents, routing and matching."""
