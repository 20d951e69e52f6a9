"""Requests that many tests make, with keyword overrides."""

from typing import Any
from uuid import UUID

import httpx2

PROBLEM_JSON = "application/problem+json"


def booking_body(slot_id: UUID | str, **overrides: Any) -> dict[str, Any]:
    """The least that books that slot."""
    return {"slot_id": str(slot_id), "customer": {"ref": "ann"}} | overrides


async def book(
    client: httpx2.AsyncClient, slot_id: UUID | str, key: str | None = None, **overrides: Any
) -> httpx2.Response:
    """POST /v1/bookings, with an Idempotency-Key where one is given."""
    headers = {"Idempotency-Key": key} if key is not None else {}
    return await client.post("/v1/bookings", json=booking_body(slot_id, **overrides), headers=headers)


async def cancel(
    client: httpx2.AsyncClient, booking_id: UUID | str, if_match: str | None = '"1"', **headers: str
) -> httpx2.Response:
    """POST /v1/bookings/{id}/cancel with that If-Match, or without one."""
    condition = {"If-Match": if_match} if if_match is not None else {}
    return await client.post(f"/v1/bookings/{booking_id}/cancel", headers=condition | headers)


def assert_problem(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """It is that problem, complete and well-formed; returns its members."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM_JSON
    problem: dict[str, Any] = response.json()
    assert problem["code"] == code
    assert problem.keys() >= {"type", "title", "status", "detail", "code", "retryable", "request_id"}
    assert (problem["status"], problem["type"]) == (status, f"urn:holdfast:error:{code}")
    assert problem["request_id"] == response.headers["x-request-id"]
    assert response.headers["cache-control"] == "no-store"
    return problem
