"""An installation that makes personal links and takes customers' tokens."""

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from pydantic import HttpUrl, SecretStr

from app.links import Links
from app.main import create_app
from app.settings import Settings
from tests.unit.test_tokens import SECRET

PUBLIC_URL = "https://book.example.com"
LINK_SECRET = "canary-of-personal-links-long-enough"  # noqa: S105


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The installation's settings, with what links take."""
    given = {
        "public_url": HttpUrl(PUBLIC_URL),
        "link_secret": SecretStr(LINK_SECRET),
        "jwt_secret": SecretStr(SECRET),
    }
    return settings.model_copy(update=given)


@pytest.fixture
def links(settings: Settings) -> Links:
    """Makes the installation's links."""
    return Links(settings)


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    """The application with these settings."""
    created = create_app(settings)
    async with created.router.lifespan_context(created):
        yield created
