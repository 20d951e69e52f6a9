"""Every error a client can meet, and the one place that knows both SQLSTATEs and HTTP.

`docs/errors.md` explains the same codes to people; a test keeps the two and the SQL functions together.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import asyncpg
from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

TYPE_BASE = "urn:holdfast:error:"
RETRY_AFTER_SECONDS = 1


class ErrorCode(NamedTuple):
    """What a code means on the wire: status, one sentence, and whether the same request may succeed later."""

    status: int
    title: str
    retryable: bool = False


CODES: dict[str, ErrorCode] = {
    # refusals of the booking rules
    "slot_not_found": ErrorCode(404, "There is no such slot."),
    "slot_full": ErrorCode(409, "The slot has no place left."),
    "slot_closed": ErrorCode(409, "The slot is no longer open to new bookings."),
    "slot_in_past": ErrorCode(409, "The slot has already started."),
    "not_open_yet": ErrorCode(409, "Booking for this slot opens later."),
    "too_late": ErrorCode(409, "The time in which this could be done is over."),
    "limit_reached": ErrorCode(409, "The customer has as many bookings of this resource as its rules allow."),
    "insufficient_units": ErrorCode(409, "The slot has places left, but fewer than asked for."),
    "booking_not_found": ErrorCode(404, "There is no such booking."),
    "resource_not_found": ErrorCode(404, "There is no such resource."),
    "schedule_not_found": ErrorCode(404, "The resource has no schedule."),
    "waitlist_entry_not_found": ErrorCode(404, "There is no such place in a waitlist."),
    "job_not_found": ErrorCode(404, "There is no such job."),
    "provider_not_found": ErrorCode(404, "There is no such provider."),
    "credentials_not_found": ErrorCode(404, "The customer has no credentials at this provider."),
    "prebooking_not_found": ErrorCode(404, "There is no such prebooking."),
    "customer_not_found": ErrorCode(404, "There is no such customer."),
    "legal_hold": ErrorCode(409, "The customer is under a legal hold."),
    "customer_active": ErrorCode(409, "Something of the customer's is still to happen: cancel it first."),
    "already_prebooked": ErrorCode(409, "The customer waits for this opening already."),
    "webhook_endpoint_not_found": ErrorCode(404, "There is no such webhook endpoint."),
    "delivery_not_found": ErrorCode(404, "There is no such delivery."),
    "webhook_endpoint_disabled": ErrorCode(409, "Nothing is delivered to this webhook endpoint."),
    "crew_not_found": ErrorCode(404, "There is no such crew."),
    "crew_member_not_found": ErrorCode(404, "There is no such member of the crew."),
    "auto_sync_not_found": ErrorCode(404, "There is no such auto-sync."),
    "auto_sync_over": ErrorCode(409, "The auto-sync is over: nobody answers it any more."),
    "too_many_feeds": ErrorCode(409, "There are as many calendar feeds as one resource or customer may have."),
    "api_key_not_found": ErrorCode(404, "There is no such API key."),
    "api_key_ended": ErrorCode(409, "The API key was revoked or has expired."),
    "lease_lost": ErrorCode(409, "Somebody else has the job by now."),
    "version_conflict": ErrorCode(412, "It changed since you read it: read it again."),
    "invalid_transition": ErrorCode(409, "The booking's status does not allow this step."),
    "hold_expired": ErrorCode(409, "The hold ended and its place is taken: give the money back, or book another slot."),
    "too_early": ErrorCode(409, "The slot has not begun yet."),
    "change_refused": ErrorCode(409, "This record is kept as it is."),
    "idempotency_conflict": ErrorCode(422, "This Idempotency-Key was used for a different request."),
    "invalid_hours": ErrorCode(422, "These are not opening hours of one day, or two of them overlap."),
    "invalid_target": ErrorCode(422, "There is no such time, or it is past."),
    "invalid_times": ErrorCode(422, "A time is past, or not one of the auto-sync or its resource, or none is chosen."),
    "invalid_template": ErrorCode(422, "The template cannot be rendered."),
    # the request itself
    "validation": ErrorCode(422, "The request does not have the expected form."),
    "bad_request": ErrorCode(400, "The request cannot be read."),
    "precondition_required": ErrorCode(428, "Send If-Match with the ETag you read."),
    "unauthorized": ErrorCode(401, "A valid bearer token is needed."),
    "forbidden": ErrorCode(403, "This token's scope does not allow this call."),
    "not_found": ErrorCode(404, "There is nothing at this address."),
    "method_not_allowed": ErrorCode(405, "This address does not answer that method."),
    "request_timeout": ErrorCode(408, "The request did not come in time.", retryable=True),
    "too_large": ErrorCode(413, "The request body is too large."),
    "rate_limited": ErrorCode(429, "Too many requests: wait as long as Retry-After says.", retryable=True),
    # ours
    "busy": ErrorCode(503, "Too much at once: try again in a moment.", retryable=True),
    "unavailable": ErrorCode(503, "The database cannot be reached.", retryable=True),
    "outcome_unknown": ErrorCode(
        503, "No answer came in time: repeat the request with the same Idempotency-Key.", retryable=True
    ),
    "jobs_overdue": ErrorCode(503, "What is due is not being done: does anything call /cron/process-jobs?"),
    "not_configured": ErrorCode(503, "The server lacks a setting for this call."),
    "encryption_unavailable": ErrorCode(503, "The server has no keys to encrypt secrets with."),
    "internal": ErrorCode(500, "Something went wrong on our side."),
}

# Class SB is ours. Kept here so that SQL knows nothing of HTTP.
SQLSTATES: dict[str, str] = {
    "SB001": "slot_not_found",
    "SB002": "slot_full",
    "SB003": "slot_closed",
    "SB004": "slot_in_past",
    "SB005": "booking_not_found",
    "SB006": "version_conflict",
    "SB007": "invalid_transition",
    "SB008": "insufficient_units",
    "SB009": "resource_not_found",
    "SB010": "idempotency_conflict",
    "SB011": "not_open_yet",
    "SB012": "change_refused",
    "SB013": "hold_expired",
    "SB014": "too_early",
    "SB015": "too_late",
    "SB016": "schedule_not_found",
    "SB017": "invalid_hours",
    "SB018": "limit_reached",
    "SB019": "waitlist_entry_not_found",
    "SB020": "lease_lost",
    "SB021": "job_not_found",
    "SB022": "provider_not_found",
    "SB023": "credentials_not_found",
    "SB024": "prebooking_not_found",
    "SB025": "invalid_target",
    "SB026": "already_prebooked",
    "SB027": "webhook_endpoint_not_found",
    "SB028": "delivery_not_found",
    "SB029": "webhook_endpoint_disabled",
    "SB030": "crew_not_found",
    "SB031": "crew_member_not_found",
    "SB032": "auto_sync_not_found",
    "SB033": "auto_sync_over",
    "SB034": "invalid_times",
    "SB035": "legal_hold",
    "SB036": "customer_active",
    "SB037": "customer_not_found",
    "SB038": "api_key_not_found",
    "SB039": "api_key_ended",
    "SB041": "too_many_feeds",
    # Postgres's own: values that pass our schemas and that it still cannot store
    "22P02": "validation",
    "22P05": "validation",
    "22003": "validation",
    "22007": "validation",
    "22008": "validation",
    "22021": "validation",
    "22023": "validation",
    # contention: nothing was done
    "40001": "busy",
    "40P01": "busy",
    "55P03": "busy",
    "57014": "busy",
    "53300": "busy",
    # no connection, or the server is going down or coming up
    "57P01": "outcome_unknown",
    "57P02": "outcome_unknown",
    "57P03": "unavailable",
    "25006": "unavailable",
    "55000": "unavailable",
    "53100": "unavailable",
}

# The second barrier speaks in constraint names: the same refusal, met by a writer that skipped the first.
CONSTRAINTS: dict[str, str] = {
    "slots_booked_bookings_check": "slot_full",
    "slots_booked_units_check": "insufficient_units",
    "bookings_not_in_past_check": "slot_in_past",
}


class ProblemBody(BaseModel):
    """RFC 9457 problem details; further members are facts about this refusal."""

    type: str = Field(description="A stable name for the kind of problem; docs/errors.md explains each.")
    title: str = Field(description="What this kind of problem means.")
    status: int = Field(description="The HTTP status, repeated.")
    detail: str = Field(description="What it means in this case, for a person.")
    code: str = Field(description="The stable code to program against.")
    retryable: bool = Field(description="Whether the same request may succeed later.")
    request_id: str = Field(description="Quote this when you ask for help.")


class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """A refusal with a code of CODES, an optional sentence and facts for the client.

    For a retryable code, also how many seconds to wait.
    """

    def __init__(
        self,
        code: str,
        detail: str | None = None,
        facts: Mapping[str, Any] | None = None,
        retry_after: int = RETRY_AFTER_SECONDS,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.facts = facts or {}
        self.retry_after = retry_after


def problem_response(request: Request, problem: Problem) -> Response:
    """The problem as application/problem+json, with the id of its request."""
    return problem_answer(problem, request.state.request_id)


def problem_answer(problem: Problem, request_id: str) -> Response:
    """The problem as application/problem+json."""
    code = CODES[problem.code]
    headers = {"Cache-Control": "no-store", "X-Request-ID": request_id}
    if code.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if code.retryable:
        headers["Retry-After"] = str(problem.retry_after)
    body = {
        **problem.facts,
        "type": TYPE_BASE + problem.code,
        "title": code.title,
        "status": code.status,
        "detail": problem.detail or code.title,
        "code": problem.code,
        "retryable": code.retryable,
        "request_id": request_id,
    }
    return JSONResponse(body, code.status, headers, media_type="application/problem+json")


def problem_of(error: Exception) -> Problem:
    """The problem that an error from the database amounts to; `internal` for what nobody foresaw."""
    if isinstance(error, asyncpg.PostgresError):
        sqlstate = error.sqlstate or ""
        if sqlstate.startswith("SB"):
            return Problem(SQLSTATES[sqlstate], facts=json.loads(error.detail or "{}"))
        if sqlstate.startswith("08"):
            return Problem("outcome_unknown")
        constraint = getattr(error, "constraint_name", None) or ""
        return Problem(SQLSTATES.get(sqlstate) or CONSTRAINTS.get(constraint, "internal"))
    # the driver says InternalClientError of a connection that broke under its hands
    if isinstance(error, TimeoutError | asyncpg.InternalClientError):
        return Problem("outcome_unknown")
    if isinstance(error, OSError | asyncpg.InterfaceError):
        return Problem("unavailable")
    return Problem("internal")


# what any request with a body may meet
UNREADABLE = ("bad_request", "request_timeout", "too_large", "validation")


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that may refuse with these codes: one entry a status, one example a code."""
    responses: dict[int | str, dict[str, Any]] = {}
    for name in codes:
        code = CODES[name]
        entry = responses.setdefault(
            code.status,
            {
                "model": ProblemBody,
                "description": HTTPStatus(code.status).phrase,
                "content": {"application/problem+json": {"examples": {}}},
            },
        )
        entry["content"]["application/problem+json"]["examples"][name] = {
            "summary": code.title,
            "value": {
                "type": TYPE_BASE + name,
                "title": code.title,
                "status": code.status,
                "detail": code.title,
                "code": name,
                "retryable": code.retryable,
                "request_id": "0b7c1f0e-5e0e-4b43-9c39-5a1f3f1b6a52",
            },
        }
    return responses
