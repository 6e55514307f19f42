"""The API documentation page, served whole from here: no script comes from another host.

The assets of Swagger UI (Apache-2.0) come in the package ``fastapi-swagger``, of which only the
files are used. The page's own script is a file too, so that its policy needs no inline script.
"""

import json
from functools import cache
from importlib.resources import files

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse

from casebook.kit.http.problems import Problem

PACKAGE = "fastapi_swagger"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
_CACHED = {"Cache-Control": "public, max-age=86400"}
_START = "start.js"

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="{assets}/favicon-32x32.png">
<link rel="stylesheet" href="{assets}/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="{assets}/swagger-ui-bundle.js"></script>
<script src="{assets}/start.js"></script>
</body>
</html>
"""


def docs_paths(prefix: str) -> tuple[str, ...]:
    """Return the paths that the documentation needs open, for ``install_http``."""
    return (f"{prefix}/docs", f"{prefix}/docs/", f"{prefix}/openapi.json")


def mount_docs(app: FastAPI, prefix: str) -> None:
    """Serve the documentation of the app at ``{prefix}/docs``.

    The app is made with ``docs_url=None, redoc_url=None`` and its ``openapi_url``.
    """
    assets = f"{prefix}/docs/assets"
    page = _PAGE.format(title=app.title, assets=assets)
    start = _start_script(app.openapi_url or f"{prefix}/openapi.json")

    async def docs() -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})

    async def asset(name: str) -> Response:
        if name == _START:
            return Response(start, media_type="text/javascript")
        if name not in _ASSETS:
            raise Problem(404)
        return Response(_content(name), media_type=_ASSETS[name], headers=_CACHED)

    app.add_api_route(f"{prefix}/docs", docs, include_in_schema=False)
    app.add_api_route(f"{assets}/{{name}}", asset, include_in_schema=False)


def _start_script(openapi_url: str) -> str:
    """Return the script that starts the page."""
    options = {
        "url": openapi_url,
        "dom_id": "#swagger-ui",
        "deepLinking": True,
        "filter": True,
        "persistAuthorization": False,
        "validatorUrl": None,
    }
    return f"window.ui = SwaggerUIBundle({json.dumps(options)});\n"


@cache
def _content(name: str) -> bytes:
    """Return an asset, read once."""
    return (files(PACKAGE) / "resources" / name).read_bytes()
