"""The monitoring service as an application (``casebook.monitoring.app:create_app``, a factory)."""

from fastapi import FastAPI

from casebook.kit.app import create_service_app
from casebook.kit.settings import Settings
from casebook.monitoring.api import router
from casebook.monitoring.service import SERVICE


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the application; its settings come from the environment unless given."""
    return create_service_app(SERVICE, router, settings=settings)
