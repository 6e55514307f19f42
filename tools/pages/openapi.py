"""docs/openapi/<service>.json: the HTTP interface of each service, as it serves it itself."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any

from fastapi import FastAPI

from casebook.events.catalog import SERVICES
from casebook.kit.settings import Settings

FOLDER = "docs/openapi"


@cache
def app(service: str) -> FastAPI:
    """Return the app of a service, with nothing of this machine's environment."""
    create = import_module(f"casebook.{service}.app").create_app
    return create(Settings.model_construct())


def document(service: str) -> Mapping[str, Any]:
    """Return the document that a service serves."""
    return app(service).openapi()


def pages() -> Iterator[tuple[str, str]]:
    """Yield path and text of each document."""
    for service in SERVICES:
        text = json.dumps(document(service), ensure_ascii=False, indent=2)
        yield f"{FOLDER}/{service}.json", text + "\n"
