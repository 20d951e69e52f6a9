"""CORS_ORIGINS: which web pages may call from a browser."""

from pathlib import Path

import httpx2
import pytest

from app.main import create_app
from app.settings import Settings
from tests.conftest import client_of, settings_for

SHOP, STRANGER = "https://shop.example", "https://evil.example"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type, idempotency-key, if-match",
}


def client_for(*origins: str) -> httpx2.AsyncClient:
    """A client of an application that lets those origins in; /healthz needs no database."""
    return client_of(create_app(settings_for("postgresql:///nowhere").model_copy(update={"cors_origins": origins})))


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        (SHOP, (SHOP,)),
        (f"{SHOP},http://localhost:3000", (SHOP, "http://localhost:3000")),
        (f" {SHOP} , http://localhost:3000 ,", (SHOP, "http://localhost:3000")),
        ("*", ("*",)),
        ("", ()),
    ],
)
def test_the_environment_lists_origins_with_commas_between(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, origins: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)  # where no .env is
    monkeypatch.setenv("CORS_ORIGINS", text)

    assert Settings().cors_origins == origins


async def test_a_listed_page_may_call_and_read_our_headers() -> None:
    async with client_for(SHOP) as client:
        preflight = await client.options("/v1/bookings", headers={"Origin": SHOP, **PREFLIGHT})
        answer = await client.get("/healthz", headers={"Origin": SHOP})

    assert preflight.status_code == 200
    assert answer.headers["access-control-allow-origin"] == SHOP
    exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
    limits = {"ratelimit", "ratelimit-policy"}
    assert exposed == {"etag", "location", "retry-after", "idempotent-replayed", "x-request-id"} | limits
    assert "access-control-allow-credentials" not in answer.headers


async def test_a_listed_page_can_read_refusals_too(dsn: str) -> None:
    app = create_app(settings_for(dsn).model_copy(update={"cors_origins": (SHOP,)}))
    async with app.router.lifespan_context(app), client_of(app) as client:
        for path in ("/nowhere", "/v1/bookings", "/v1/resources/nonsense", "/v1/resources?limit=0"):
            answer = await client.get(path, headers={"Origin": SHOP})
            assert answer.is_client_error
            assert answer.headers["access-control-allow-origin"] == SHOP


async def test_any_other_page_may_not() -> None:
    async with client_for(SHOP) as client:
        preflight = await client.options("/v1/bookings", headers={"Origin": STRANGER, **PREFLIGHT})
        answer = await client.get("/healthz", headers={"Origin": STRANGER})

    assert preflight.status_code == 400
    assert "access-control-allow-origin" not in answer.headers


async def test_without_the_setting_no_page_may(public: httpx2.AsyncClient) -> None:
    answer = await public.get("/healthz", headers={"Origin": SHOP})

    assert "access-control-allow-origin" not in answer.headers
