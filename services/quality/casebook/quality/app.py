"""The quality application: ``uvicorn casebook.quality.app:create_app --factory``."""

from fastapi import FastAPI

from casebook.kit.app import create_service_app
from casebook.kit.settings import Settings
from casebook.quality.api import router
from casebook.quality.service import SERVICE


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the application of the quality service."""
    return create_service_app(SERVICE, router, settings=settings)
