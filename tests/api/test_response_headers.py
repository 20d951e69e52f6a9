"""What every answer tells a browser, whatever it answers."""

import httpx2
import pytest

from app.main import create_app
from tests.conftest import client_of, settings_for

ANSWERS = {
    "data": ("GET", "/v1/resources"),
    "not found": ("GET", "/nowhere"),
    "unauthorized": ("GET", "/v1/bookings"),
    "method not allowed": ("DELETE", "/v1/resources"),
    "invalid": ("GET", "/v1/resources?limit=0"),
    "description": ("GET", "/openapi.json"),
    "health": ("GET", "/healthz"),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_is_neither_sniffed_nor_framed_nor_told_on(public: httpx2.AsyncClient, name: str) -> None:
    answer = await public.request(*ANSWERS[name])

    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert "strict-transport-security" not in answer.headers


async def test_a_preflight_and_an_unforeseen_error_have_them_too(dsn: str) -> None:
    app = create_app(settings_for(dsn).model_copy(update={"cors_origins": ("https://shop.example",)}))
    preflight = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    async with client_of(app) as client:
        # without its lifespan the application has no database, which nobody foresaw
        for answer in (await client.options("/v1/bookings", headers=preflight), await client.get("/readyz")):
            assert answer.headers["x-content-type-options"] == "nosniff"


async def test_the_page_of_the_docs_may_load_what_comes_from_here_and_nothing_else(public: httpx2.AsyncClient) -> None:
    policy = (await public.get("/docs")).headers["content-security-policy"]

    sources = {word for directive in policy.split("; ") for word in directive.split()[1:]}
    assert sources == {"'none'", "'self'", "'unsafe-inline'", "data:"}
    assert "frame-ancestors 'none'" in policy


async def test_a_browser_is_told_to_keep_to_https_where_the_setting_says_so() -> None:
    app = create_app(settings_for("postgresql:///nowhere").model_copy(update={"behind_tls": True}))
    async with client_of(app) as client:
        answer = await client.get("/healthz")

    assert answer.headers["strict-transport-security"] == "max-age=31536000"
