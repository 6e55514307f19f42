"""The app of the dispatch service."""

from fastapi import FastAPI

from casebook.dispatch.api import router
from casebook.dispatch.service import SERVICE
from casebook.kit.app import create_service_app
from casebook.kit.settings import Settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the dispatch service; without settings, those of the environment."""
    return create_service_app(SERVICE, router, settings=settings)
