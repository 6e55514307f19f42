"""The ``casebook`` command: starts platforms, and talks to them through their public APIs."""
