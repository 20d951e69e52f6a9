"""Whatever is not a success is a problem with a code, and says nothing that it should not."""

from collections.abc import AsyncIterator

import asyncpg
import httpx2
import pytest

from tests.api.calls import assert_problem, book
from tests.factories import Factory, make_api_key
from tests.live import LiveServer, live_server

PERSONAL = {"ref": "c-1", "name": "Ann Archer", "email": "ann.archer@example.com", "phone": "+30 210 1234567"}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("DELETE", "/v1/bookings", 405, "method_not_allowed"),
        ("GET", "/v1/bookings/nonsense", 422, "validation"),
        ("GET", "/v1/bookings?limit=0", 422, "validation"),
    ],
)
async def test_a_request_that_misses_is_a_problem_too(
    admin: httpx2.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    assert_problem(await admin.request(method, path), status, code)


async def test_an_address_with_a_slash_too_many_is_not_found_instead_of_redirected(public: httpx2.AsyncClient) -> None:
    # a redirect would name the host and scheme that a proxy in front hides, and the token would follow it there
    answer = await public.get("/v1/resources/", headers={"Host": "evil.example"})

    assert "location" not in answer.headers
    assert_problem(answer, 404, "not_found")


async def test_a_method_that_is_not_allowed_learns_which_are(admin: httpx2.AsyncClient) -> None:
    answer = await admin.delete("/v1/bookings")

    assert {method.strip() for method in answer.headers["allow"].split(",")} >= {"GET", "POST"}


async def test_a_request_id_comes_back_on_answers_and_problems(public: httpx2.AsyncClient) -> None:
    for path in ("/healthz", "/nowhere", "/v1/bookings", "/v1/bookings/nonsense"):
        answer = await public.get(path, headers={"X-Request-ID": "shop-7.a_B"})
        assert answer.headers["x-request-id"] == "shop-7.a_B"


@pytest.mark.parametrize("given", [b"", b"a b", b"x" * 101, b"\xe9", b"<script>", b"a,b"])
async def test_a_request_id_that_could_do_harm_is_replaced(public: httpx2.AsyncClient, given: bytes) -> None:
    first, second = [await public.get("/nowhere", headers=[(b"x-request-id", given)]) for _ in range(2)]

    assert first.headers["x-request-id"].encode() != given
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert_problem(first, 404, "not_found")


async def test_a_validation_problem_names_the_fields_and_never_repeats_what_was_sent(
    frontend: httpx2.AsyncClient, make: Factory
) -> None:
    customer = PERSONAL | {"email": "ann.archer@example.com" * 20}

    answer = await book(frontend, await make.slot(), customer=customer, units="Ann Archer")

    problem = assert_problem(answer, 422, "validation")
    assert {error["field"] for error in problem["errors"]} == {"body.customer.email", "body.units"}
    assert not [value for value in PERSONAL.values() if value in answer.text]


async def test_a_retryable_problem_says_when(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await make.slot()
    # 40001: what a rival transaction under stricter isolation would cause
    await conn.execute("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
                       "$$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END $$")  # fmt: skip
    await conn.execute("CREATE TRIGGER refuse BEFORE INSERT ON bookings EXECUTE FUNCTION refuse()")

    answer = await book(frontend, slot_id)

    assert assert_problem(answer, 503, "busy")["retryable"] is True
    assert int(answer.headers["retry-after"]) >= 1


async def unexpected(conn: asyncpg.Connection) -> None:
    """Make each new customer fail in a way nobody foresaw, with the customer's data in Postgres's own message."""
    await conn.execute("ALTER TABLE customers ADD CONSTRAINT surprise CHECK (email IS NULL)")


async def test_an_unexpected_error_says_nothing_of_the_database_or_the_customer(
    frontend: httpx2.AsyncClient, make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await make.slot()
    await unexpected(conn)

    answer = await book(frontend, slot_id, customer=PERSONAL)

    problem = assert_problem(answer, 500, "internal")
    assert problem["retryable"] is False
    assert "retry-after" not in answer.headers
    words = ("surprise", "customers", "INSERT", "asyncpg", "23514", *PERSONAL.values())
    assert not [word for word in words if word in answer.text]
    assert await conn.fetchval("SELECT count(*) FROM bookings") == 0


@pytest.fixture
async def live(dsn: str) -> AsyncIterator[LiveServer]:
    async with live_server(dsn, LOG_LEVEL="debug") as server:
        yield server


async def test_the_log_tells_an_unexpected_error_by_its_request_id_and_holds_no_personal_data(
    live: LiveServer, make: Factory, conn: asyncpg.Connection
) -> None:
    slot_id = await make.slot(max_bookings=9)
    await unexpected(conn)
    async with live.client(await make_api_key(conn, "frontend")) as client:
        answer = await book(client, slot_id, customer=PERSONAL)
    await live.wait_until_ready(starts=1)

    assert_problem(answer, 500, "internal")
    (line,) = [line for line in live.log.splitlines() if answer.headers["x-request-id"] in line]
    assert '"sqlstate": "23514"' in line
    assert '"constraint": "surprise"' in line
    assert not [value for value in PERSONAL.values() if value in live.log]


async def test_the_log_holds_no_personal_data_when_our_own_code_breaks_over_it(
    live: LiveServer, conn: asyncpg.Connection
) -> None:
    await conn.execute("DROP FUNCTION expire_due_bookings")
    # where a number belongs, so that Python's own message repeats it
    await conn.execute(
        "CREATE FUNCTION expire_due_bookings(p_actor jsonb, p_limit integer) RETURNS text LANGUAGE sql AS "
        f"$$ SELECT '{PERSONAL['email']}' $$"
    )
    async with live.client(await make_api_key(conn, "cron")) as client:
        answer = await client.post("/cron/process-jobs")
    # the server may log after it has answered, but not after its next answer
    await live.wait_until_ready(starts=1)

    assert_problem(answer, 500, "internal")
    assert answer.headers["x-request-id"] in live.log
    assert PERSONAL["email"] not in live.log


async def test_the_log_holds_no_token_and_no_personal_data_of_requests_that_went_well(
    live: LiveServer, make: Factory, conn: asyncpg.Connection
) -> None:
    key = await make_api_key(conn, "frontend")
    async with live.client(key) as client:
        booked = await book(client, await make.slot(), customer=PERSONAL)
        await client.get("/v1/bookings", params={"customer_ref": "c-1"})
    await live.wait_until_ready(starts=1)

    assert booked.status_code == 201
    assert not [value for value in (key, *PERSONAL.values()) if value in live.log]
