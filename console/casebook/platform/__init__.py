"""The all-in-one runner: five services and the console in one process (decisions 3.5).

The applications are the same ones that production runs as five processes; only the database, the
log table and the keys of the home are supplied here. ``runner`` is the one module that imports
the five ``create_app``; nothing is imported here, so that a command which only talks to a running
platform starts quickly.
"""
