"""How hard hypothesis tries: ``fast`` in every run, ``long`` with ``--hypothesis-profile=long``.

Neither watches the clock: other work on the machine is no reason to fail.
"""

from hypothesis import HealthCheck, Phase, settings

FAST = settings(max_examples=200, deadline=None)
LONG = settings(FAST, max_examples=5_000, suppress_health_check=(HealthCheck.too_slow,))
INPUT = settings(
    FAST,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=(
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
        HealthCheck.large_base_example,
    ),
)
"""What draws input for a platform that keeps it: nothing is tried again, or made smaller."""


def register() -> None:
    """Make the profiles known by name, and use the fast one."""
    settings.register_profile("fast", FAST)
    settings.register_profile("long", LONG)
    settings.load_profile("fast")
