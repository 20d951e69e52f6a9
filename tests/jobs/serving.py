"""The application with a handler of the tests, for `uvicorn --factory tests.jobs.serving:app_with_posts`."""

import httpx2
from fastapi import FastAPI

from app.main import create_app
from app.settings import Settings
from tests.jobs.support import posts


def app_with_posts() -> FastAPI:
    """What is served."""
    return create_app(Settings(), [posts(httpx2.AsyncClient(timeout=30))])
