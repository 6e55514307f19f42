# pyright: reportMissingImports=false
"""Prepares the django-helpdesk site: a queue, somebody of the staff, and so many open tickets.

It prints the queue's id and the key of a session of that person.
"""

import json
import os
import sys

import django

task = json.loads(sys.argv[1])
os.environ["HELPDESK_DSN"] = task["dsn"]
os.environ["DJANGO_SETTINGS_MODULE"] = "helpdesk_settings"
django.setup()

from django.contrib.auth import (  # noqa: E402 - models can be imported after the set-up only
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
)
from django.contrib.auth.models import User  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.utils import timezone  # noqa: E402
from helpdesk.models import Queue, Ticket  # noqa: E402


def new_session() -> str:
    """Create somebody of the staff, log them in, and return the key of their session."""
    agent = User.objects.create_superuser("agent", "agent@bench.test", "agent")
    session = SessionStore()
    session[SESSION_KEY] = str(agent.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = agent.get_session_auth_hash()
    session.save()
    return str(session.session_key)


def main() -> None:
    """Create the tables and the rows."""
    call_command("migrate", verbosity=0)
    queue = Queue.objects.create(title="Desk", slug="desk", allow_public_submission=True)
    now = timezone.now()
    tickets = (
        Ticket(
            queue=queue, title=f"邮件无法发送 {number}", description="所有发出的邮件都被退回。",
            submitter_email="li.na@bench.test", status=Ticket.OPEN_STATUS, created=now,
            modified=now,
        )
        for number in range(task["tickets"])
    )  # fmt: skip
    Ticket.objects.bulk_create(tickets, batch_size=1_000)
    print(json.dumps({"queue": queue.pk, "session": new_session()}))


main()
