"""A club next door with its adapter installed, and an application that has keys."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.main import create_app
from app.settings import Settings
from tests.conftest import client_of
from tests.credentials.club import Club, ClubAdapter, club, offer_adapters
from tests.credentials.support import FIRST, with_keys
from tests.unit.test_tokens import SECRET, signed


@pytest.fixture(autouse=True)
def _adapters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.syspath_prepend(offer_adapters(tmp_path))
    before = ClubAdapter.open
    yield
    assert ClubAdapter.open == before, "an adapter was not closed"


@pytest.fixture
def site() -> Iterator[Club]:
    """The club, which lets in whoever says "open sesame"."""
    with club("open sesame") as server:
        yield server


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The installation's settings, with one key, and a secret that signs customers' tokens."""
    return with_keys(settings, FIRST).model_copy(update={"jwt_secret": SecretStr(SECRET)})


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    """The application with these settings."""
    created = create_app(settings)
    async with created.router.lifespan_context(created):
        yield created


@pytest.fixture
async def ann(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """The customer ann, with her own token."""
    async with client_of(app, signed(SECRET, sub="ann")) as client:
        yield client


@pytest.fixture
async def bob(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """The customer bob, with his own token."""
    async with client_of(app, signed(SECRET, sub="bob")) as client:
        yield client
