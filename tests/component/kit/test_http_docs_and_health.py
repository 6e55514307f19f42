import json

from fastapi import FastAPI

from casebook.kit import metrics
from casebook.kit.routes.health import Health, health_router
from tests.support.http_app import send


async def test_the_documentation_needs_no_other_host() -> None:
    page = await send("GET", "/desk/docs", {})
    assert "//" not in page.text.replace("<!DOCTYPE", "")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png", "start.js"):
        assert f"/desk/docs/assets/{asset}" in page.text
        response = await send("GET", f"/desk/docs/assets/{asset}", {})
        assert response.status_code == 200
        assert len(response.content) > 50
    for escape in ("..%2f__init__.py", "%2e%2e/main.py", "main.py"):
        assert (await send("GET", f"/desk/docs/assets/{escape}", {})).status_code == 404


async def test_the_description_knows_our_problems() -> None:
    document = (await send("GET", "/desk/openapi.json", {})).json()
    responses = document["paths"]["/desk/v1/things"]["post"]["responses"]
    assert set(responses) == {"200", "400", "401", "403", "404", "413", "415", "422", "503"}
    assert "application/problem+json" in responses["422"]["content"]
    schemas = document["components"]["schemas"]
    assert "Problem" in schemas
    assert "HTTPValidationError" not in json.dumps(document)


async def test_a_service_is_ready_while_its_required_checks_say_so() -> None:
    asked: list[str] = []

    async def database() -> bool:
        asked.append("database")
        return len(asked) == 1

    async def log() -> bool:
        raise OSError("away")

    health = Health("desk", {"database": database}, {"log": log})
    assert (await health.readiness()).ready
    readiness = await health.readiness()
    assert (readiness.ready, readiness.degraded, asked) == (True, ("log",), ["database"])
    health.drain()
    assert (await health.readiness()).failed == ("draining",)


async def test_an_unready_service_says_503() -> None:
    async def never() -> bool:
        return False

    app = FastAPI()
    app.include_router(health_router(Health("desk", {"database": never})))
    response = await send("GET", "/readyz", {}, app=app)
    assert response.status_code == 503
    assert response.json() == {"status": "unready", "failed": ["database"], "degraded": []}
    assert (await send("GET", "/livez", {}, app=app)).status_code == 200


def test_every_metric_names_its_service() -> None:
    for metric in metrics.METRICS:
        assert metric._labelnames[0] == "service"
