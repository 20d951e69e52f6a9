"""POST /v1/bookings/{id}/payment, /confirm, /no-show and /reschedule over HTTP."""

from uuid import UUID

import httpx2
import pytest

from tests.factories import TOMORROW, Factory


async def hold(frontend: httpx2.AsyncClient, slot_id: UUID) -> str:
    body = {"slot_id": str(slot_id), "customer": {"ref": "ann"}, "payment_method": "pay_now"}
    return str((await frontend.post("/v1/bookings", json=body)).json()["id"])


async def test_a_hold_is_paid(frontend: httpx2.AsyncClient, make: Factory) -> None:
    booking_id = await hold(frontend, await make.slot())

    paid = await frontend.post(
        f"/v1/bookings/{booking_id}/payment", json={"payment_status": "paid"}, headers={"If-Match": '"1"'}
    )

    assert (paid.status_code, paid.headers["ETag"]) == (200, '"2"')
    assert (paid.json()["status"], paid.json()["payment_status"]) == ("confirmed", "paid")


async def test_a_booking_moves_under_its_own_id(frontend: httpx2.AsyncClient, make: Factory) -> None:
    booking_id, elsewhere = await make.booking(), await make.slot()

    moved = await frontend.post(
        f"/v1/bookings/{booking_id}/reschedule", json={"slot_id": str(elsewhere)}, headers={"If-Match": '"1"'}
    )

    assert (moved.json()["id"], moved.json()["slot_id"]) == (str(booking_id), str(elsewhere))


async def test_a_taken_place_refuses_the_move_with_the_facts(frontend: httpx2.AsyncClient, make: Factory) -> None:
    booking_id, full = await make.booking(), await make.slot(max_bookings=1)
    await make.booking(full, p_customer='{"ref": "ben"}')

    refused = await frontend.post(
        f"/v1/bookings/{booking_id}/reschedule", json={"slot_id": str(full)}, headers={"If-Match": '"1"'}
    )

    assert (refused.status_code, refused.json()["code"]) == (409, "slot_full")
    assert refused.json()["remaining_bookings"] == 0


@pytest.mark.parametrize("step", ["confirm", "no-show"])
async def test_settling_by_hand_is_for_admins(frontend: httpx2.AsyncClient, make: Factory, step: str) -> None:
    refused = await frontend.post(f"/v1/bookings/{await make.booking()}/{step}", headers={"If-Match": '"1"'})

    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


async def test_an_admin_confirms_a_hold(admin: httpx2.AsyncClient, frontend: httpx2.AsyncClient, make: Factory) -> None:
    booking_id = await hold(frontend, await make.slot())

    confirmed = await admin.post(f"/v1/bookings/{booking_id}/confirm", headers={"If-Match": '"1"'})

    assert confirmed.json()["status"] == "confirmed"


async def test_a_no_show_before_the_slot_begins_is_too_early(admin: httpx2.AsyncClient, make: Factory) -> None:
    booking_id = await make.booking(await make.slot(starts_at=TOMORROW))

    refused = await admin.post(f"/v1/bookings/{booking_id}/no-show", headers={"If-Match": '"1"'})

    assert (refused.status_code, refused.json()["code"]) == (409, "too_early")


@pytest.mark.parametrize(
    ("step", "body"),
    [
        ("payment", {"payment_status": "pending"}),
        ("payment", {}),
        ("reschedule", {}),
        ("reschedule", {"slot_id": "x"}),
        ("cancel", {"reason": "x", "why": "y"}),
    ],
)
async def test_a_body_of_another_form_is_refused(
    frontend: httpx2.AsyncClient, make: Factory, step: str, body: dict[str, str]
) -> None:
    refused = await frontend.post(f"/v1/bookings/{await make.booking()}/{step}", json=body, headers={"If-Match": '"1"'})

    assert (refused.status_code, refused.json()["code"]) == (422, "validation")
