"""Requests made from the API's own description: a valid one, one value of which at a time is made hostile.

What is valid comes from each schema's examples, else from its type; ids that exist stand where ids are asked for.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from tests.contracts.support import Operation
from tests.factories import HOUR, TOMORROW
from tests.hostile.values import EVERYTHING, TEXTS

Place = tuple[str | int, ...]
SAMPLES = {
    "date-time": TOMORROW.isoformat(),
    "date": TOMORROW.date().isoformat(),
    "uri": "https://example.com/hook",
    "email": "ann@example.com",
}
PLAIN: dict[str, Any] = {"string": "word", "integer": 1, "number": 1, "boolean": True, "null": None}
DAY = 24 * HOUR
NEEDED = ("if-match", "customer_ref")
SLOT = {"starts_at": TOMORROW.isoformat(), "ends_at": (TOMORROW + HOUR).isoformat(), "max_bookings": 5, "max_units": 9}
BOOKING = {"path": "/book", "rules": [{"finding": "booked", "status": 201, "path": "id"}]}
HOURS = {"opens": "09:00", "closes": "18:00"}
# what a schema does not say: which members go together
BODIES: dict[str, Callable[[Mapping[str, str]], Any]] = {
    "put_schedule": lambda _: {
        "slot_minutes": 60,
        "max_bookings": 2,
        "max_units": 4,
        "weekly": [{"weekday": 1, **HOURS}],
        "horizon_days": 7,
        "min_notice_minutes": 5,
        "booking_window_days": 30,
        "opens_at_local": "09:00",
        "cancel_cutoff_minutes": 5,
        "hold_minutes": 5,
    },
    "put_exception": lambda _: {"hours": [HOURS]},
    "add_slots": lambda _: {"slots": [SLOT]},
    "create_recurring_bookings": lambda known: {
        "slot_id": known["slot_id"],
        "customer": {"ref": "ann", "name": "Ann"},
        "count": 2,
        "metadata": {"a": "b"},
    },
    "create_prebooking": lambda known: {
        "resource_id": known["resource_id"],
        "target": {"starts_at_local": f"{TOMORROW + 90 * DAY:%Y-%m-%dT09:00}"},
        "customer": {"ref": "ann"},
    },
    "put_provider": lambda _: {
        "adapter": "http_json",
        "settings": {"base_url": "https://example.com", "booking": BOOKING},
        "timezone": "UTC",
        "booking_window_days": 3,
        "opens_at_local": "09:00",
    },
    "take_sms": lambda _: {"From": "+15005550007", "Body": "STOP"},
    "put_credentials": lambda _: {"fields": {"password": "open sesame"}, "customer_ref": "ann"},
}
# header values travel as bytes in which these may not stand
SHORT = [text for text in TEXTS if len(text) < 10_000]  # a server reads no longer address or header
UNSENDABLE = str.maketrans("", "", "\0\r\n")


class Call(NamedTuple):
    """One request: how it is sent, and what is hostile about it."""

    operation: Operation
    url: str
    headers: dict[str, str]
    body: bytes
    what: str


class Corpus:
    """Every operation of a description, aimed at rows that exist."""

    def __init__(self, document: dict[str, Any], known: Mapping[str, str]) -> None:
        self._schemas = document["components"]["schemas"]
        self._known = known

    def calls(self, operation: Operation) -> Iterator[Call]:
        """Each place of the operation with each hostile value."""
        parameters = operation.spec.get("parameters", [])
        given = {(each["in"], each["name"]): self._sample(each["schema"], each["name"]) for each in parameters}
        needed = self._needed(parameters)
        media_type, body = self._body(operation)
        for place in given:
            for text in SHORT:
                values = {each: given[each] for each in needed} | {place: text}
                yield self._call(operation, values, media_type, body, f"{place[1]}={text[:60]!r}")
        plain = {each: given[each] for each in needed}
        for path in places(body) if media_type else ():
            for value in EVERYTHING:
                changed = replaced(body, path, value)
                yield self._call(operation, plain, media_type, changed, f"body {path}={str(value)[:60]!r}")

    def valid(self, operation: Operation) -> Call:
        """The request before anything is replaced."""
        parameters = operation.spec.get("parameters", [])
        needed = self._needed(parameters)
        given = {(each["in"], each["name"]): self._sample(each["schema"], each["name"]) for each in parameters}
        values = {place: value for place, value in given.items() if place in needed}
        return self._call(operation, values, *self._body(operation), "nothing")

    @staticmethod
    def _needed(parameters: list[dict[str, Any]]) -> set[tuple[str, str]]:
        # the description cannot say that a version is required: that refusal has a code of its own
        return {(each["in"], each["name"]) for each in parameters if each.get("required") or each["name"] in NEEDED}

    def _call(
        self, operation: Operation, values: Mapping[tuple[str, str], Any], media_type: str, body: Any, what: str
    ) -> Call:
        url, query, headers = operation.path, [], {}
        for (where, name), value in values.items():
            text = value if isinstance(value, str) else json.dumps(value)
            if where == "path":
                # an empty one is another address
                url = url.replace(f"{{{name}}}", quote(text or " ", safe="", errors="surrogatepass"))
            elif where == "query":
                query.append(f"{name}={quote(text, safe='', errors='surrogatepass')}")
            else:
                headers[name] = text.translate(UNSENDABLE)
        url += "?" + "&".join(query) if query else ""
        content = b"" if not media_type else encoded(body, media_type)
        return Call(operation, url, headers | ({"content-type": media_type} if media_type else {}), content, what)

    def _body(self, operation: Operation) -> tuple[str, Any]:
        for media_type, content in operation.spec.get("requestBody", {}).get("content", {}).items():
            make = BODIES.get(operation.spec["operationId"])
            return media_type, make(self._known) if make else self._sample(content["schema"], "")
        return "", None

    def _resolved(self, schema: Any) -> Any:
        while "$ref" in schema:
            schema = self._schemas[schema["$ref"].rpartition("/")[2]]
        return schema

    def _sample(self, schema: Any, name: str) -> Any:
        schema = self._resolved(schema)
        if name in self._known:
            return self._known[name]
        for word in ("const", "default"):
            if schema.get(word) is not None and schema[word] != {}:
                return schema[word]
        for word in ("examples", "enum"):
            if schema.get(word):
                return schema[word][0]
        for word in ("anyOf", "oneOf", "allOf"):
            if word in schema:
                return self._sample(schema[word][0], name)
        return self._made(schema, name)

    def _made(self, schema: Any, name: str) -> Any:
        kind = schema.get("type")
        if kind == "object":
            return {each: self._sample(of, each) for each, of in schema.get("properties", {}).items()} or {"a": 1}
        if kind == "array":
            return [self._sample(schema.get("items", {}), name.removesuffix("s"))]
        if schema.get("format") == "uuid":
            return self._known["slot_id"]
        if kind == "integer":
            return max(1, schema.get("minimum", 1))
        return SAMPLES.get(schema.get("format", ""), PLAIN.get(str(kind), 1))


def places(body: Any) -> Iterator[Place]:
    """The way to every value in it, itself included."""
    yield ()
    members = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for name, value in members:
        for path in places(value):
            yield (name, *path)


def replaced(body: Any, path: Place, value: Any) -> Any:
    """The same body with another value there."""
    if not path:
        return value
    step, *rest = path
    if isinstance(body, list):
        return [replaced(each, tuple(rest), value) if n == step else each for n, each in enumerate(body)]
    return {name: replaced(each, tuple(rest), value) if name == step else each for name, each in body.items()}


def encoded(body: Any, media_type: str) -> bytes:
    """As it travels: JSON with all that Python's parser lets through, or a form."""
    if media_type == "application/json":
        return json.dumps(body).encode()
    members = body.items() if isinstance(body, dict) else [("From", body)]
    return "&".join(f"{quote(str(k))}={quote(str(v), errors='surrogatepass')}" for k, v in members).encode()
