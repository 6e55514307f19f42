"""The intake service as an ASGI application (``casebook.intake.app:create_app``, a factory)."""

from fastapi import FastAPI

from casebook.intake.api import router
from casebook.intake.service import SERVICE
from casebook.kit.app import create_service_app
from casebook.kit.settings import Settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the application; its settings come from the environment unless given."""
    return create_service_app(SERVICE, router, settings=settings)
