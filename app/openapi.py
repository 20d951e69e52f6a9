"""The API description: stable operation ids, and problems under their own media type."""

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

JSON, PROBLEM_JSON = "application/json", "application/problem+json"


def operation_id(route: APIRoute) -> str:
    """The name of the function that answers, which clients generate their own names from."""
    return route.name


def include(app: FastAPI, router: APIRouter) -> None:
    """Serve a feature's routes as the app's own: one flat list, in which a request finds its route at once."""
    app.router.routes.extend(router.routes)


def describe(app: FastAPI) -> dict[str, Any]:
    """FastAPI's description of `app`, with each problem's schema where its examples are."""
    if app.openapi_schema is None:
        description = FastAPI.openapi(app)
        for operations in description["paths"].values():
            for operation in operations.values():
                _move_problems(operation["responses"])
    return FastAPI.openapi(app)


def _move_problems(responses: dict[str, Any]) -> None:
    for response in responses.values():
        content = response.get("content", {})
        if PROBLEM_JSON in content:
            content[PROBLEM_JSON]["schema"] = content.pop(JSON)["schema"]
