"""Whatever goes wrong with a request is answered as a problem, and logged without what the client sent."""

import traceback
from http import HTTPStatus

import asyncpg
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import Problem, problem_of, problem_response

logger = structlog.get_logger(__name__)


async def _on_error(request: Request, error: Exception) -> Response:
    problem = error if isinstance(error, Problem) else problem_of(error)
    if problem.code == "internal":
        logger.error(
            "unexpected error",
            error=type(error).__name__,
            sqlstate=getattr(error, "sqlstate", None),
            constraint=getattr(error, "constraint_name", None),
            # The place, not the message: that one may hold a client's data.
            place=traceback.format_tb(error.__traceback__)[-3:],
            request_id=request.state.request_id,
        )
    return problem_response(request, problem)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - registered for Problem alone
    return problem_response(request, error)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it alone
    # Never the input: it may be personal, or not even encodable.
    errors = [{"field": ".".join(str(part) for part in e["loc"]), "message": e["msg"]} for e in error.errors()]
    detail = "; ".join(f"{e['field']}: {e['message']}" for e in errors[:3])
    return problem_response(request, Problem("validation", detail, {"errors": errors}))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it alone
    codes = {400: "bad_request", 404: "not_found", 405: "method_not_allowed"}
    response = problem_response(request, Problem(codes.get(error.status_code, "internal")))
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["Allow"] = ", ".join(sorted(_methods_at(request)))
    return response


def _methods_at(request: Request) -> set[str]:
    """Every method that some route of this address answers; the framework names those of the first route alone."""
    matching = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    # an address in so many words is not also the id in another's pattern
    exact = [route for route in matching if route.path == request.url.path]
    return {method for route in exact or matching for method in getattr(route, "methods", None) or ()}


class LastResort:
    """ASGI middleware: an error that nobody foresaw is answered and logged as ours, and goes no further.

    A handler for Exception would do the same and then let the server log the error's text, which may be personal.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            await self.app(scope, receive, send)
        except Exception as error:
            if scope["type"] != "http":
                raise
            response = await _on_error(Request(scope), error)
            await response(scope, receive, send)


def install_error_handlers(app: FastAPI) -> None:
    """Make every answer that is not a success a problem with a code."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(asyncpg.PostgresError, _on_error)
    app.add_exception_handler(asyncpg.InterfaceError, _on_error)
    app.add_exception_handler(asyncpg.InternalClientError, _on_error)
    app.add_exception_handler(OSError, _on_error)  # TimeoutError is one of these
