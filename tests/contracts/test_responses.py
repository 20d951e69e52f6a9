"""What the app answers is what it declares, field by field."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import httpx2
import jsonschema_rs
import pytest

from tests.contracts.support import api_description
from tests.factories import HOUR, TOMORROW

DOCUMENT = api_description()
SLOT = {"starts_at": TOMORROW.isoformat(), "ends_at": (TOMORROW + HOUR).isoformat(), "max_bookings": 5, "max_units": 9}


class Scene(NamedTuple):
    """A resource with a slot and a booking, made over HTTP, and the answers that made them."""

    admin: httpx2.AsyncClient
    resource: httpx2.Response
    slots: httpx2.Response
    booking: httpx2.Response

    @property
    def booking_url(self) -> str:
        return str(self.booking.headers["location"])

    @property
    def resource_url(self) -> str:
        return str(self.resource.headers["location"])


@pytest.fixture
async def scene(admin: httpx2.AsyncClient) -> Scene:
    resource = await admin.post("/v1/resources", json={"name": "Pitch", "timezone": "Europe/Athens"})
    slots = await admin.post(f"{resource.headers['location']}/slots", json={"slots": [SLOT]})
    body = {"slot_id": slots.json()["slots"][0]["id"], "customer": {"ref": "ann", "name": "Ann"}, "metadata": {"a": 1}}
    return Scene(admin, resource, slots, await admin.post("/v1/bookings", json=body))


def assert_declared(response: httpx2.Response, operation_path: str, *, extra: bool = False) -> None:
    """The body fits the schema declared for that operation and status, and (unless `extra`) holds nothing more."""
    operation = DOCUMENT["paths"][operation_path][response.request.method.lower()]
    content = operation["responses"][str(response.status_code)]["content"]
    media_type = response.headers["content-type"].partition(";")[0]
    schema = content[media_type]["schema"]
    rooted = {**schema, "components": components(closed=not extra)}
    jsonschema_rs.validator_for(rooted, validate_formats=True).validate(response.json())


def components(*, closed: bool) -> dict[str, Any]:
    """The document's schemas; closed ones allow no property that they do not name."""
    schemas: dict[str, Any] = DOCUMENT["components"]["schemas"]
    if not closed:
        return {"schemas": schemas}
    return {
        "schemas": {n: {**s, "additionalProperties": False} if "properties" in s else s for n, s in schemas.items()}
    }


async def test_a_resource(scene: Scene) -> None:
    assert_declared(scene.resource, "/v1/resources")
    assert_declared(await scene.admin.get(scene.resource_url), "/v1/resources/{resource_id}")
    assert_declared(await scene.admin.get("/v1/resources"), "/v1/resources")
    answer = await scene.admin.patch(scene.resource_url, json={"name": "Court"}, headers={"If-Match": '"1"'})
    assert_declared(answer, "/v1/resources/{resource_id}")


async def test_slots_and_availability(scene: Scene) -> None:
    assert_declared(scene.slots, "/v1/resources/{resource_id}/slots")
    answer = await scene.admin.get("/v1/available-slots", params={"resource_id": scene.resource.json()["id"]})
    assert len(answer.json()["slots"]) == 1
    assert_declared(answer, "/v1/available-slots")


async def test_a_booking_a_hold_and_a_cancelled_one(scene: Scene) -> None:
    assert scene.booking.status_code == 201
    assert_declared(scene.booking, "/v1/bookings")
    assert_declared(await scene.admin.get(scene.booking_url), "/v1/bookings/{booking_id}")

    body = {"slot_id": scene.booking.json()["slot_id"], "customer": {"name": "Bob"}, "payment_method": "pay_now"}
    hold = await scene.admin.post("/v1/bookings", json=body)
    assert hold.json()["expires_at"] is not None
    assert_declared(hold, "/v1/bookings")

    cancelled = await scene.admin.post(f"{scene.booking_url}/cancel", headers={"If-Match": '"1"'})
    assert_declared(cancelled, "/v1/bookings/{booking_id}/cancel")


async def test_a_list(scene: Scene) -> None:
    answer = await scene.admin.get("/v1/bookings", params={"limit": 1})

    assert len(answer.json()["items"]) == 1
    assert_declared(answer, "/v1/bookings")


async def test_a_history_also_of_a_write_around_the_api(scene: Scene) -> None:
    await scene.admin.post(f"{scene.booking_url}/cancel", json={"reason": "rain"}, headers={"If-Match": '"1"'})

    answer = await scene.admin.get(f"{scene.booking_url}/history")

    assert len(answer.json()["items"]) == 2
    assert_declared(answer, "/v1/bookings/{booking_id}/history")


async def test_a_run_and_health(scene: Scene, cron: httpx2.AsyncClient) -> None:
    for path in ("/healthz", "/readyz"):
        assert_declared(await scene.admin.get(path), path)
    for method in ("GET", "POST"):
        assert_declared(await cron.request(method, "/cron/process-jobs"), "/cron/process-jobs")


Ask = Callable[[Scene], Awaitable[httpx2.Response]]
NOWHERE = "00000000-0000-0000-0000-000000000000"
REFUSALS: dict[str, tuple[str, Ask]] = {
    "unauthorized": (
        "/v1/bookings/{booking_id}",
        lambda s: s.admin.get(s.booking_url, headers={"Authorization": "Bearer hf_wrong"}),
    ),
    "validation": ("/v1/bookings", lambda s: s.admin.post("/v1/bookings", json={})),
    "booking_not_found": ("/v1/bookings/{booking_id}", lambda s: s.admin.get(f"/v1/bookings/{NOWHERE}")),
    "precondition_required": (
        "/v1/bookings/{booking_id}/cancel",
        lambda s: s.admin.post(f"{s.booking_url}/cancel"),
    ),
    "version_conflict": (
        "/v1/bookings/{booking_id}/cancel",
        lambda s: s.admin.post(f"{s.booking_url}/cancel", headers={"If-Match": '"9"'}),
    ),
    "insufficient_units": (
        "/v1/bookings",
        lambda s: s.admin.post(
            "/v1/bookings",
            json={"slot_id": s.booking.json()["slot_id"], "customer": {"ref": "bob"}, "units": 9},
        ),
    ),
}


@pytest.mark.parametrize("code", REFUSALS)
async def test_a_refusal(scene: Scene, code: str) -> None:
    path, ask = REFUSALS[code]

    answer = await ask(scene)

    assert answer.json()["code"] == code
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert_declared(answer, path, extra=True)


async def test_a_forbidden_call(scene: Scene, frontend: httpx2.AsyncClient) -> None:
    answer = await frontend.post(f"{scene.resource_url}/slots", json={"slots": [SLOT]})

    assert answer.status_code == 403
    assert_declared(answer, "/v1/resources/{resource_id}/slots", extra=True)


async def test_a_body_that_is_not_as_declared_is_seen(scene: Scene) -> None:
    answer = await scene.admin.get(scene.booking_url)
    answer._content = answer.content.replace(b'"units" : 1', b'"units" : "one"')  # noqa: SLF001 - to see it fail

    with pytest.raises(jsonschema_rs.ValidationError):
        assert_declared(answer, "/v1/bookings/{booking_id}")
