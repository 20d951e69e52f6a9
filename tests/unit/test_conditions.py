"""If-Match, Idempotency-Key and what tells two requests apart."""

import httpx2
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from app.conditions import IdempotencyKey, IfMatch, etag, fingerprint
from app.error_handlers import install_error_handlers
from app.request_id import RequestId


class Body(BaseModel):
    name: str
    units: int = 1


async def _echo(version: IfMatch, key: IdempotencyKey) -> dict[str, object]:
    return {"version": version, "key": key}


def echo_app() -> FastAPI:
    app = FastAPI()
    app.get("/")(_echo)
    install_error_handlers(app)
    app.add_middleware(RequestId)
    return app


async def ask(**headers: str) -> httpx2.Response:
    transport = httpx2.ASGITransport(echo_app())
    async with httpx2.AsyncClient(transport=transport, base_url="http://holdfast.test") as client:
        raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
        return await client.get("/", headers=raw)


@pytest.mark.parametrize("version", [1, 42, 999_999_999])
async def test_if_match_takes_the_etag_that_was_given(version: int) -> None:
    answer = await ask(if_match=etag(version))

    assert answer.json()["version"] == version


async def test_without_if_match_the_precondition_is_required() -> None:
    answer = await ask()

    assert (answer.status_code, answer.json()["code"]) == (428, "precondition_required")


@pytest.mark.parametrize(
    "value", ["*", "1", 'W/"1"', '"1", "2"', '"one"', '""', '"-1"', '"1.0"', '"9999999999"', '"1" ""']
)
async def test_what_is_not_one_strong_etag_matches_nothing(value: str) -> None:
    answer = await ask(if_match=value)

    assert (answer.status_code, answer.json()["code"]) == (412, "version_conflict")


@pytest.mark.parametrize(("given", "key"), [("a1", "a1"), ('"a1"', "a1"), ("two words", "two words"), ("x" * 255,) * 2])
async def test_an_idempotency_key_is_read_with_or_without_quotes(given: str, key: str) -> None:
    answer = await ask(if_match='"1"', idempotency_key=given)

    assert answer.json()["key"] == key


async def test_no_idempotency_key_is_none() -> None:
    assert (await ask(if_match='"1"')).json()["key"] is None


@pytest.mark.parametrize("value", ["", "x" * 256, "tab\tin it", "caf\u00e9", '""'])
async def test_an_unusable_idempotency_key_is_refused(value: str) -> None:
    answer = await ask(if_match='"1"', idempotency_key=value)

    assert (answer.status_code, answer.json()["code"]) == (422, "validation")


@given(name=st.text(), units=st.integers())
def test_the_same_body_and_target_have_the_same_fingerprint(name: str, units: int) -> None:
    body = Body(name=name, units=units)

    assert fingerprint(body, "b", 1) == fingerprint(Body(units=units, name=name), "b", 1)
    assert len(fingerprint(body)) == 32


@given(st.lists(st.tuples(st.text(), st.integers(), st.integers()), min_size=2, max_size=2, unique=True))
def test_another_body_or_target_has_another_fingerprint(requests: list[tuple[str, int, int]]) -> None:
    one, other = (fingerprint(Body(name=name, units=units), target) for name, units, target in requests)

    assert one != other


def test_a_field_left_out_is_the_field_given_as_its_default() -> None:
    assert fingerprint(Body(name="a")) == fingerprint(Body(name="a", units=1))
