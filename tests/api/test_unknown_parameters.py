"""A query parameter that nothing reads is refused: a typo must not pass for an absent filter."""

import re
from collections.abc import AsyncIterator
from typing import Annotated
from uuid import uuid4

import httpx2
import pytest
from fastapi import APIRouter, Depends, FastAPI, Query

from app.error_handlers import install_error_handlers
from app.errors import problems
from app.openapi import include
from app.request_id import RequestId
from tests.api.calls import assert_problem, book
from tests.conftest import client_of
from tests.contracts.support import Operation, api_description, operations
from tests.factories import Factory

CALLS = [operation for operation in operations(api_description()) if operation.path.startswith("/v1/")]
API_KEY: dict[str, list[str]] = {"api_key": []}
OPEN_TO_ADMINS = [call for call in CALLS if API_KEY in call.spec.get("security", [API_KEY])]


def errors_of(answer: httpx2.Response) -> list[dict[str, str]]:
    errors: list[dict[str, str]] = assert_problem(answer, 422, "validation")["errors"]
    return errors


async def test_a_misspelt_filter_is_refused_and_named(frontend: httpx2.AsyncClient, make: Factory) -> None:
    await book(frontend, await make.slot())

    answer = await frontend.get("/v1/bookings", params={"resorce_id": str(uuid4()), "limit": 1})

    assert errors_of(answer) == [{"field": "query.resorce_id", "message": "There is no such parameter"}]


async def test_every_unknown_name_is_told_once(public: httpx2.AsyncClient) -> None:
    answer = await public.get("/v1/resources?page=1&limit=1&page=2&sort=name")

    assert [error["field"] for error in errors_of(answer)] == ["query.page", "query.sort"]


@pytest.mark.parametrize("query", ["units=1&units=2", "units=1&units=1", "units=1&units="])
async def test_a_repeated_value_is_refused_where_one_is_read(
    public: httpx2.AsyncClient, make: Factory, query: str
) -> None:
    answer = await public.get(f"/v1/available-slots?resource_id={await make.resource()}&{query}")

    assert errors_of(answer) == [{"field": "query.units", "message": "Give this parameter once"}]


async def test_a_parameter_goes_by_the_name_that_is_described(public: httpx2.AsyncClient, make: Factory) -> None:
    path = f"/v1/available-slots?resource_id={await make.resource()}"

    assert (await public.get(f"{path}&from=2030-01-01T00:00:00Z")).status_code == 200
    assert [error["field"] for error in errors_of(await public.get(f"{path}&starting=1"))] == ["query.starting"]


async def test_nobody_learns_what_a_call_takes_before_they_may_call_it(public: httpx2.AsyncClient) -> None:
    assert_problem(await public.get("/v1/bookings?nonsense=1"), 401, "unauthorized")


async def test_a_write_with_an_unknown_parameter_writes_nothing(admin: httpx2.AsyncClient) -> None:
    body = {"name": "Pitch", "timezone": "UTC"}

    assert_problem(await admin.post("/v1/resources?dry_run=true", json=body), 422, "validation")

    assert (await admin.get("/v1/resources")).json()["items"] == []


async def test_a_monitor_may_add_what_it_likes_to_a_health_check(public: httpx2.AsyncClient) -> None:
    assert (await public.get("/healthz?t=123")).status_code == 200


def test_every_call_declares_that_it_may_find_the_form_wrong() -> None:
    assert [f"{call.method} {call.path}" for call in CALLS if "422" not in call.errors] == []


@pytest.mark.parametrize("operation", OPEN_TO_ADMINS, ids=lambda operation: operation.spec["operationId"])
async def test_every_call_refuses_it(admin: httpx2.AsyncClient, operation: Operation) -> None:
    path = re.sub(r"{\w+}", str(uuid4()), operation.path)

    answer = await admin.request(operation.method, f"{path}?nonsense=1", headers={"If-Match": '"1"'})

    assert [error["field"] for error in errors_of(answer)] == ["query.nonsense"]


async def _zone(tz: str | None = None) -> str | None:
    return tz


things = APIRouter()


@things.get("/things", responses=problems("validation"))
async def _things(zone: Annotated[str | None, Depends(_zone)], ids: Annotated[list[int] | None, Query()] = None) -> str:
    return f"{zone} {ids}"


@pytest.fixture
async def of_things() -> AsyncIterator[httpx2.AsyncClient]:
    """A caller of a feature that reads one parameter in a dependency, and a list of another."""
    for _ in range(2):  # as when a process makes two apps of the same features
        app = FastAPI()
        include(app, things)
    install_error_handlers(app)
    app.add_middleware(RequestId)
    async with client_of(app) as client:
        yield client


async def test_a_list_may_be_repeated_and_a_dependency_has_parameters_too(of_things: httpx2.AsyncClient) -> None:
    assert (await of_things.get("/things?ids=1&tz=UTC&ids=2")).json() == "UTC [1, 2]"
    assert (await of_things.get("/things")).json() == "None None"


async def test_a_dependencys_parameter_is_not_repeated(of_things: httpx2.AsyncClient) -> None:
    answer = await of_things.get("/things?tz=UTC&tz=UTC&id=1")

    assert [error["field"] for error in errors_of(answer)] == ["query.tz", "query.id"]
