"""Databases whose schema has roles of its own; the tests' own connections are a superuser's still."""

import uuid
from collections.abc import AsyncIterator

import pytest

from app.settings import Settings
from tests.conftest import settings_for
from tests.databases import Databases, dsn_as, dsn_of, on_server
from tests.roles.support import give_roles


@pytest.fixture(scope="session")
async def databases(template: str) -> AsyncIterator[Databases]:
    """Where these tests run: copies of a database with roles."""
    name = f"template_with_roles_{uuid.uuid4().hex[:8]}"
    await on_server(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    await give_roles(dsn_of(name))
    databases = Databases(name)
    yield databases
    await databases.drop()
    await on_server(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def settings(dsn: str) -> Settings:
    """The settings of a service that connects as the app's role."""
    return settings_for(dsn_as(dsn, "holdfast_app"))
