"""The API's one list of routes: its description, and that it takes no query parameter it does not describe."""

from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi._compat import ModelField, field_annotation_is_sequence
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params, get_parameterless_sub_dependant, get_validation_alias
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from app.admission import ALWAYS
from app.door import Door, bearers_of
from app.errors import problems

PROBLEM_JSON = "application/problem+json"
# what any call may meet that is not always admitted
OVERLOADED = ("busy", "unavailable", "outcome_unknown")
# operations that ask for one of these, and public ones under /v1, may find that their caller was here too often
TOKENS = {"api_key", "customer_token", "cron_secret"}


def operation_id(route: APIRoute) -> str:
    """The name of the function that answers, which clients generate their own names from."""
    return route.name


def include(app: FastAPI, router: APIRouter) -> None:
    """Serve a feature's routes as the app's own: one flat list, in which a request finds its route at once.

    Whoever may not call is told that before anything else. Routes that declare a 422 refuse what they do not take; an
    address without one is open to a monitor's `?t=123`.
    """
    for route in router.routes:
        if isinstance(route, APIRoute):
            _ask_who_calls(route)
            if HTTPStatus.UNPROCESSABLE_ENTITY in route.responses:
                _refuse_other_parameters(route)
    app.router.routes.extend(router.routes)


class _KnownParameters:
    """A dependency that refuses a query parameter which no one reads, or of which one value would be dropped.

    Unknown fields of a body are refused for the same reason: a typo must not pass for a default.
    """

    def __init__(self, dependant: Dependant) -> None:
        self._takes_many = {
            get_validation_alias(field): field_annotation_is_sequence(field.field_info.annotation)
            for field in _query_fields(dependant)
        }

    async def __call__(self, request: Request) -> None:
        """Return when there is nothing to refuse. Raises RequestValidationError."""
        if not request.scope["query_string"]:
            return
        given = Counter(name for name, _ in request.query_params.multi_items())
        objections = {name: self._objection(name, times) for name, times in given.items()}
        errors = [{"loc": ("query", name), "msg": message} for name, message in objections.items() if message]
        if errors:
            raise RequestValidationError(errors)

    def _objection(self, name: str, times: int) -> str | None:
        if name not in self._takes_many:
            return "There is no such parameter"
        return None if times == 1 or self._takes_many[name] else "Give this parameter once"


def _query_fields(dependant: Dependant) -> Iterator[ModelField]:
    yield from get_flat_params(Dependant(query_params=dependant.query_params))
    for dependency in dependant.dependencies:
        yield from _query_fields(dependency)


def _ask_who_calls(route: APIRoute) -> None:
    bearers = list(bearers_of(route.dependant))
    # a feature's routes are shared by every app of the process
    if bearers and not isinstance(route.app, Door):
        route.app = Door(route.app, bearers)


def _refuse_other_parameters(route: APIRoute) -> None:
    dependencies = route.dependant.dependencies
    if not any(isinstance(dependency.call, _KnownParameters) for dependency in dependencies):
        known = Depends(_KnownParameters(route.dependant))
        dependencies.append(get_parameterless_sub_dependant(depends=known, path=route.path_format))


def describe(app: FastAPI) -> dict[str, Any]:
    """FastAPI's description of `app`, with who may call, what any call may meet, and each problem's schema."""
    if app.openapi_schema is None:
        description = FastAPI.openapi(app)
        for route in app.routes:
            if isinstance(route, APIRoute) and route.include_in_schema:
                for method in route.methods or ():
                    _name_scopes(description["paths"][route.path_format][method.lower()], route)
        for path, operations in description["paths"].items():
            for operation in operations.values():
                _move_problems(operation["responses"])
                if path not in ALWAYS:
                    _may_meet(operation["responses"], *OVERLOADED)
                if _is_limited(path, operation):
                    _may_meet(operation["responses"], "rate_limited")
    return FastAPI.openapi(app)


def _name_scopes(operation: dict[str, Any], route: APIRoute) -> None:
    scopes = sorted({scope for bearer in bearers_of(route.dependant) for scope in bearer.scopes})
    if scopes:
        # each of them opens it, and so each stands alone
        others = [requirement for requirement in operation["security"] if "api_key" not in requirement]
        operation["security"] = [{"api_key": [scope]} for scope in scopes] + others


def _is_limited(path: str, operation: dict[str, Any]) -> bool:
    schemes = {name for requirement in operation.get("security", ()) for name in requirement}
    return schemes <= TOKENS and (bool(schemes) or path.startswith("/v1/"))


def _may_meet(responses: dict[str, Any], *codes: str) -> None:
    for status, added in problems(*codes).items():
        content = added["content"][PROBLEM_JSON] | {"schema": {"$ref": "#/components/schemas/ProblemBody"}}
        known = responses.setdefault(
            str(status), {"description": added["description"], "content": {PROBLEM_JSON: {**content, "examples": {}}}}
        )
        known["content"][PROBLEM_JSON]["examples"] |= content["examples"]


def _move_problems(responses: dict[str, Any]) -> None:
    for response in responses.values():
        content = response.get("content", {})
        if PROBLEM_JSON in content:
            # under the media type of the route's own answers
            (own,) = content.keys() - {PROBLEM_JSON}
            content[PROBLEM_JSON]["schema"] = content.pop(own)["schema"]
