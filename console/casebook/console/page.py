"""The start page, until the console has screens: plain, with links (decisions §8)."""

from starlette.responses import HTMLResponse, Response

from casebook.events.catalog import SERVICES

_LINKS = "\n".join(
    f'<li>{name}: <a href="/{name}/docs">API documentation</a>, '
    f'<a href="/{name}/openapi.json">OpenAPI</a></li>'
    for name in SERVICES
)
_PAGE = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Casebook</title></head>
<body><h1>Casebook</h1><p>Event-sourced IT service management. The services:</p>
<ul>{_LINKS}</ul>
<p>Get a token with <code>casebook token --role admin</code> and send it as
<code>Authorization: Bearer …</code>. Probes: <a href="/livez">/livez</a>,
<a href="/readyz">/readyz</a>, <a href="/metrics">/metrics</a>.</p></body></html>"""


def start_page() -> Response:
    """Return the start page; it needs no script, no style and no other host."""
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": "default-src 'none'"})
