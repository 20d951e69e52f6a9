"""Input made to hurt: none of it gives a 500, and what is refused is refused as a problem with a code."""

import json
from collections.abc import AsyncIterator
from typing import NamedTuple

import asyncpg
import httpx2
import pytest

from app.body_limit import MAX_BODY_SIZE
from app.main import create_app
from tests.api.calls import assert_problem, booking_body
from tests.conftest import client_of, settings_for
from tests.databases import copy_of
from tests.factories import TOMORROW, Factory, make_api_key

JSON = {"Content-Type": "application/json"}
LIMIT = MAX_BODY_SIZE


class Target(NamedTuple):
    """One installation for the whole table: nothing in it depends on what came before."""

    client: httpx2.AsyncClient
    conn: asyncpg.Connection
    resource_id: str
    slot_id: str
    booking_id: str

    def fill(self, text: str) -> str:
        return (
            text.replace("RESOURCE", self.resource_id).replace("SLOT", self.slot_id).replace("BOOKING", self.booking_id)
        )

    async def post(self, path: str, body: str | bytes, **headers: str) -> httpx2.Response:
        content = self.fill(body) if isinstance(body, str) else body
        return await self.client.post(self.fill(path), content=content, headers=JSON | headers)


@pytest.fixture(scope="module")
async def target(template: str) -> AsyncIterator[Target]:
    async with copy_of(template, "hostile") as (dsn, conn):
        make = Factory(conn)
        resource_id = await make.resource()
        slot_id = await make.slot(resource_id, max_bookings=1_000_000, starts_at=TOMORROW)
        booking_id = await make.booking(slot_id)
        app = create_app(settings_for(dsn))
        async with app.router.lifespan_context(app), client_of(app, await make_api_key(conn, "admin")) as client:
            yield Target(client, conn, str(resource_id), str(slot_id), str(booking_id))


def booking(**members: str) -> str:
    """A booking's JSON, with members written as they stand: some cannot be made from Python values."""
    text = {"slot_id": '"SLOT"', "customer": '{"ref": "ann"}'} | members
    return "{" + ", ".join(f'"{name}": {value}' for name, value in text.items()) + "}"


def nested(depth: int, opening: str = '{"a":', closing: str = "}") -> str:
    return opening * depth + "1" + closing * depth


BODIES = {
    "/v1/bookings": booking(metadata="METADATA"),
    "/v1/resources": '{"name": "Pitch", "timezone": "UTC", "metadata": METADATA}',
}
REFUSED_BOOKINGS = {
    "NUL in a name": booking(customer=r'{"name": "a\u0000b"}'),
    "NUL in metadata": booking(metadata=r'{"a": "\u0000"}'),
    "NUL in a metadata key": booking(metadata=r'{"\u0000": 1}'),
    "lone surrogate in a ref": booking(customer=r'{"ref": "\ud800"}'),
    "lone surrogate in metadata": booking(metadata=r'{"a": "\ud800"}'),
    "lone surrogate in a metadata key": booking(metadata=r'{"\udfff": 1}'),
    "lone surrogate in an unknown field": booking(**{r"\ud800": "1"}),
    "lone surrogate in a slot id": booking(slot_id=r'"\ud800"'),
    "NaN in metadata": booking(metadata='{"a": NaN}'),
    "Infinity in metadata": booking(metadata='{"a": [Infinity]}'),
    "-Infinity in metadata": booking(metadata='{"a": -Infinity}'),
    "1e400 in metadata": booking(metadata='{"a": 1e400}'),
    "an integer of 5000 digits in metadata": booking(metadata='{"a": 1' + "0" * 5000 + "}"),
    "NaN units": booking(units="NaN"),
    "1e400 units": booking(units="1e400"),
    "400 digits of units": booking(units="1" + "0" * 400),
    "true units": booking(units="true"),
    "units in text": booking(units='"1"'),
    "units with a fraction": booking(units="1.0"),
    "null units": booking(units="null"),
    "metadata 5000 deep": booking(metadata=nested(5000)),
    "metadata 20000 arrays deep": booking(metadata='{"a": ' + nested(20_000, "[", "]") + "}"),
    "metadata that is a list": booking(metadata="[]"),
    "metadata that is null": booking(metadata="null"),
    "unknown field": booking(slot="1"),
    "unknown field in the customer": booking(customer='{"ref": "ann", "id": 1}'),
    "over-long ref": booking(customer='{"ref": "' + "x" * 201 + '"}'),
    "over-long name": booking(customer='{"name": "' + "é" * 201 + '"}'),
    "unknown payment method": booking(payment_method='"cash"'),
    "a slot id that is no UUID": booking(slot_id='"1 OR 1=1"'),
    "a slot id that is a number": booking(slot_id="1"),
    "array body": "[]",
    "number body": "1",
    "string body": '"SLOT"',
    "null body": "null",
    "empty body": "",
    "blank body": "  \n",
    "cut-off body": booking()[:-1],
    "two bodies": booking() + booking(),
    "body that is no UTF-8": b'{"slot_id": "\xff"}',
    "body with a byte order mark inside": b"{\xef\xbb\xbf}",
    "form body": b"slot_id=SLOT&customer=ann",
}


@pytest.mark.parametrize("body", REFUSED_BOOKINGS.values(), ids=REFUSED_BOOKINGS.keys())
async def test_a_hostile_booking_is_refused(target: Target, body: str | bytes) -> None:
    before = await target.conn.fetchval("SELECT count(*) FROM bookings")

    answer = await target.post("/v1/bookings", body)

    assert answer.status_code in {400, 422}, answer.text
    assert_problem(answer, answer.status_code, "validation" if answer.status_code == 422 else "bad_request")
    assert await target.conn.fetchval("SELECT count(*) FROM bookings") == before


# A parser, a validator, a serializer, Python's stack and Postgres each bear another depth.
DEPTHS = [*range(50, 900, 50), *range(900, 1000, 3), 2000, 4000]


@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ("[", "]")])
@pytest.mark.parametrize("path", ["/v1/bookings", "/v1/resources"])
async def test_metadata_of_any_depth_is_taken_or_refused(target: Target, path: str, opening: str, closing: str) -> None:
    unexpected = {}
    for depth in DEPTHS:
        metadata = '{"a": ' + nested(depth, opening, closing) + "}"
        answer = await target.post(path, BODIES[path].replace("METADATA", metadata))
        if answer.status_code not in {201, 400, 422}:
            unexpected[depth] = answer.status_code

    assert not unexpected


@pytest.mark.parametrize(
    "metadata",
    [
        '{"a": "' + "x" * 60_000 + '"}',
        '{"a": 1' + "0" * 400 + "}",
        '{"a": -0}',
        '{"": {"": [[], {}]}}',
        r'{"a": "\ud83c\udfbe"}',
        r'{"</script>": "\u2028\u202e\ufeff"}',
    ],
)
async def test_odd_but_valid_metadata_is_kept_as_it_is(target: Target, metadata: str) -> None:
    answer = await target.post("/v1/bookings", booking(metadata=metadata))

    assert answer.status_code == 201, answer.text
    assert answer.json()["metadata"] == json.loads(metadata)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ";;;"]
)
async def test_json_under_another_name_is_refused(target: Target, content_type: str) -> None:
    answer = await target.post("/v1/bookings", booking(), **{"Content-Type": content_type})

    assert_problem(answer, 422, "validation")


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 1000):
        yield content[start : start + 1000]


@pytest.mark.parametrize("is_announced", [True, False], ids=["with Content-Length", "in chunks"])
@pytest.mark.parametrize("path", ["/v1/bookings", "/v1/bookings/BOOKING/cancel", "/v1/resources"])
async def test_a_body_over_the_limit_is_too_large(target: Target, path: str, is_announced: bool) -> None:
    content = json.dumps(booking_body(target.slot_id, metadata={"a": "x" * LIMIT})).encode()

    answer = await target.client.post(
        target.fill(path), content=content if is_announced else pieces(content), headers=JSON | {"If-Match": '"1"'}
    )

    assert_problem(answer, 413, "too_large")


async def test_a_body_may_be_just_as_long_as_the_limit(target: Target) -> None:
    path = f"/v1/resources/{target.resource_id}/slots"

    assert_problem(await target.client.post(path, content=b" " * LIMIT, headers=JSON), 422, "validation")
    assert_problem(await target.client.post(path, content=b" " * (LIMIT + 1), headers=JSON), 413, "too_large")


INSTANTS = {
    "year 0001": "0001-01-01T00:00:00Z",
    "year 9999": "9999-12-31T23:59:59Z",
    "year 0001 east of Greenwich": "0001-01-01T00:00:00+14:00",
    "year 9999 west of Greenwich": "9999-12-31T23:59:59-14:00",
    "year 2200": "2200-01-01T00:00:00Z",
    "naive": "2030-01-01T00:00:00",
    "date": "2030-01-01",
    "offset of 25 hours": "2030-01-01T00:00:00+25:00",
    "February 30": "2030-02-30T00:00:00Z",
    "hour 24": "2030-01-01T24:00:00Z",
    "leap second": "2030-12-31T23:59:60Z",
    "words": "tomorrow",
    "nothing": "",
    "NUL": "\0",
    "a small number": "1",
    "a large number": "99999999999999999999",
    "not a number": "nan",
    "infinity": "infinity",
}


@pytest.mark.parametrize("instant", INSTANTS.values(), ids=INSTANTS.keys())
async def test_an_impossible_instant_is_refused_wherever_one_is_taken(target: Target, instant: str) -> None:
    slot = {"starts_at": instant, "ends_at": "2030-01-01T00:00:00Z", "max_bookings": 1}
    added = await target.post("/v1/resources/RESOURCE/slots", json.dumps({"slots": [slot]}))
    asked = [
        await target.client.get("/v1/bookings", params={name: instant}) for name in ("from", "to", "updated_since")
    ]
    for name in ("from", "to"):
        query = {"resource_id": target.resource_id, name: instant}
        asked.append(await target.client.get("/v1/available-slots", params=query))

    for answer in (added, *asked):
        assert_problem(answer, 422, "validation")


@pytest.mark.parametrize("offset", ["+15:59", "-15:59", "+16:00", "-16:00", "+23:59", "-23:59"])
async def test_an_offset_means_the_same_instant_everywhere_or_is_refused(target: Target, offset: str) -> None:
    instant = f"2031-05-05T12:00:00{offset}"
    slot = {"starts_at": instant, "ends_at": "2031-05-09T12:00:00Z", "max_bookings": 1}

    added = await target.post("/v1/resources/RESOURCE/slots", json.dumps({"slots": [slot]}))
    asked = await target.client.get("/v1/bookings", params={"from": instant})

    assert added.status_code in {201, 422}, added.text
    assert asked.status_code in {200, 422}, asked.text


def cursor(text: str) -> str:
    return text.encode().hex()


NIL = "00000000-0000-0000-0000-000000000000"
REFUSED_QUERIES = {
    "/v1/bookings": {
        "limit of 0": "limit=0",
        "limit of 201": "limit=201",
        "negative limit": "limit=-1",
        "limit that is no number": "limit=abc",
        "empty limit": "limit=",
        "huge limit": "limit=" + "9" * 400,
        "second limit": "limit=5&limit=0",
        "unknown status": "status=done",
        "NUL status": "status=%00",
        "resource that is no UUID": "resource_id=1",
        "NUL resource": "resource_id=%00",
        "NUL customer": "customer_ref=%00",
        "empty customer": "customer_ref=",
        "over-long customer": "customer_ref=" + "x" * 201,
        "cursor that is no hex": "cursor=garbage",
        "cursor of half a byte": "cursor=abc",
        "empty cursor": "cursor=",
        "NUL cursor": "cursor=%00",
        "cursor that is no text": "cursor=ff",
        "cursor of NUL": "cursor=00",
        "cursor of no instant": "cursor=" + cursor(f"x {NIL}"),
        "cursor of no id": "cursor=" + cursor("1"),
        "cursor of a wrong id": "cursor=" + cursor("1 x"),
        "cursor of NaN": "cursor=" + cursor(f"nan {NIL}"),
        "cursor of 1e300": "cursor=" + cursor(f"1e300 {NIL}"),
        "cursor of 1e400": "cursor=" + cursor(f"1e400 {NIL}"),
        "long cursor": "cursor=" + "61" * 5000,
        "cursor outside ASCII": "cursor=%C3%A9",
        "unknown name": "nonsense=1",
        "misspelt name": "resorce_id=RESOURCE",
        "no name": "=",
        "a percent sign for a name": "%",
        "NUL name": "%00=1",
        "name that is no text": "%ff%ed%a0%80=1",
        "long name": "x" * 60_000,
        "twelve thousand names": "&".join(f"{n:x}" for n in range(12_000)),
        "limits in brackets": "limit[]=1",
        "two good limits": "limit=1&limit=2",
        "the same limit twice": "limit=1&limit=1",
        "two statuses": "status=pending&status=confirmed",
    },
    "/v1/resources": {
        "limit of 0": "limit=0",
        "limit of 201": "limit=201",
        "cursor that is no hex": "cursor=zz",
        "cursor of NaN": "cursor=" + cursor(f"nan {NIL}"),
    },
    "/v1/available-slots": {
        "nothing": "",
        "resource that is no UUID": "resource_id=..",
        "a path as zone": "resource_id=RESOURCE&tz=../../etc/passwd",
        "a file of the zone folder": "resource_id=RESOURCE&tz=posixrules",
        "another file of it": "resource_id=RESOURCE&tz=zone.tab",
        "a folder of it": "resource_id=RESOURCE&tz=Europe",
        "the machine's own zone": "resource_id=RESOURCE&tz=localtime",
        "the placeholder zone": "resource_id=RESOURCE&tz=Factory",
        "a POSIX zone": "resource_id=RESOURCE&tz=XYZ5XYZ4,0/0,J365/25",
        "NUL zone": "resource_id=RESOURCE&tz=%00",
        "empty zone": "resource_id=RESOURCE&tz=",
        "lower-case zone": "resource_id=RESOURCE&tz=europe/athens",
        "no units": "resource_id=RESOURCE&units=0",
        "too many units": "resource_id=RESOURCE&units=10001",
        "units that are no number": "resource_id=RESOURCE&units=NaN",
    },
}


@pytest.mark.parametrize(
    ("path", "query"),
    [
        pytest.param(path, query, id=f"{path}: {name}")
        for path, queries in REFUSED_QUERIES.items()
        for name, query in queries.items()
    ],
)
async def test_a_hostile_query_is_refused(target: Target, path: str, query: str) -> None:
    assert_problem(await target.client.get(f"{path}?{target.fill(query)}"), 422, "validation")


ODD_QUERIES = ["&&&", "customer_ref=%ff", "customer_ref=%ed%a0%80", "customer_ref='--", "limit=%31",
               "cursor=" + cursor(f"infinity {NIL}"), "cursor=" + cursor(f"-infinity {NIL}")]  # fmt: skip


@pytest.mark.parametrize("query", ODD_QUERIES)
async def test_an_odd_query_is_answered(target: Target, query: str) -> None:
    assert (await target.client.get(f"/v1/bookings?{query}")).status_code == 200


@pytest.mark.parametrize("word", ["nonsense", "%00", "%ff", "%F0%9F%8E%BE", "-1", "x" * 5000, "%7B%7D"])
async def test_an_id_that_is_no_uuid_is_refused(target: Target, word: str) -> None:
    for path in (f"/v1/bookings/{word}", f"/v1/resources/{word}", f"/v1/bookings/{word}/history"):
        answer = await target.client.get(path)
        assert answer.status_code in {404, 422}
        assert_problem(answer, answer.status_code, "validation" if answer.status_code == 422 else "not_found")


HEADERS = ["Accept", "Accept-Language", "Cookie", "Origin", "Referer", "User-Agent", "X-Request-ID", "X-Forwarded-For"]


@pytest.mark.parametrize("value", [b"\xff\xfe\x80", "🎾".encode(), b"x" * 10_000, b"", b"%00", b"a\tb"])
async def test_header_values_outside_ascii_or_reason_do_no_harm(target: Target, value: bytes) -> None:
    for name in HEADERS:
        answer = await target.client.post(
            "/v1/bookings", json=booking_body(target.slot_id), headers=[(name.encode(), value)]
        )
        assert answer.status_code == 201, answer.text
        assert answer.headers["x-request-id"].isascii()


@pytest.mark.parametrize("reason", [r'"a\u0000b"', r'"\ud800"', '"' + "x" * 1001 + '"', "7", "[]", "{}"])
async def test_a_hostile_reason_cancels_nothing(target: Target, reason: str) -> None:
    answer = await target.post("/v1/bookings/BOOKING/cancel", f'{{"reason": {reason}}}', **{"If-Match": '"1"'})

    assert_problem(answer, 422, "validation")
    assert (await target.client.get(f"/v1/bookings/{target.booking_id}")).json()["status"] == "confirmed"


@pytest.mark.parametrize(
    "slot",
    [
        {},
        {"starts_at": "2030-01-01T00:00:00Z", "ends_at": "2030-01-01T01:00:00Z"},
        {"starts_at": "2030-01-01T00:00:00Z", "ends_at": "2030-01-01T01:00:00Z", "max_bookings": 0},
        {"starts_at": "2030-01-01T00:00:00Z", "ends_at": "2030-01-01T01:00:00Z", "max_bookings": 10**6 + 1},
        {"starts_at": "2030-01-01T00:00:00Z", "ends_at": "2030-01-01T01:00:00Z", "max_bookings": 1, "max_units": -1},
        {"starts_at": "2030-01-01T01:00:00Z", "ends_at": "2030-01-01T01:00:00Z", "max_bookings": 1},
        {"starts_at": "2030-01-01T00:00:00.1234561Z", "ends_at": "2030-01-01T00:00:00.1234569Z", "max_bookings": 1},
        {"starts_at": [], "ends_at": {}, "max_bookings": "many"},
        {"starts_at": "2030-01-01T00:00:00Z", "ends_at": "2030-01-01T01:00:00Z", "max_bookings": True},
        {"starts_at": "2030-01-01T00:00:00Z", "ends_at": "2030-01-01T01:00:00Z", "max_bookings": "1"},
        {"starts_at": "2030-01-01T00:00:00Z", "ends_at": "2030-01-01T01:00:00Z", "max_bookings": 1.0},
        {"starts_at": "2030-01-01T00:00:00Z", "ends_at": "2030-01-01T01:00:00Z", "max_bookings": 1, "max_units": True},
    ],
)
async def test_an_impossible_slot_is_refused(target: Target, slot: dict[str, object]) -> None:
    answer = await target.post("/v1/resources/RESOURCE/slots", json.dumps({"slots": [slot]}))

    assert_problem(answer, 422, "validation")


@pytest.mark.parametrize("count", [0, 1001])
async def test_too_few_or_too_many_slots_are_refused(target: Target, count: int) -> None:
    slot = {"starts_at": "2030-01-01T00:00:00Z", "ends_at": "2030-01-01T01:00:00Z", "max_bookings": 1}

    answer = await target.post("/v1/resources/RESOURCE/slots", json.dumps({"slots": [slot] * count}))

    assert_problem(answer, 422, "validation")
