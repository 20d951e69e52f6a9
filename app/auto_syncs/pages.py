"""/respond/{token}: whoever has a personal link reads what is asked, and answers."""

from http import HTTPStatus
from typing import get_args
from urllib.parse import parse_qs
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.auto_syncs import queries
from app.auto_syncs.rendering import HEADERS, Given, State, pages_in
from app.auto_syncs.schemas import MAX_TIMES, Answer
from app.database import TROUBLE, Db
from app.errors import CODES, Problem, problem_of
from app.links import Links
from app.security import actor_of
from app.waker import Wake

# for people: no part of the API's description
router = APIRouter(prefix="/respond", include_in_schema=False)
STATUSES: dict[State, HTTPStatus] = {
    "asked": HTTPStatus.OK,
    "recorded": HTTPStatus.OK,
    "no_time": HTTPStatus.UNPROCESSABLE_ENTITY,
    "unknown": HTTPStatus.NOT_FOUND,
    "over": HTTPStatus.GONE,
    "busy": HTTPStatus.SERVICE_UNAVAILABLE,
}
STATES: dict[str, State] = {
    "auto_sync_not_found": "unknown",
    "crew_member_not_found": "unknown",
    "auto_sync_over": "over",
    "invalid_times": "no_time",
}


@router.get("/{token}")
async def show_invitation(token: str, request: Request, db: Db) -> HTMLResponse:
    """What is asked, as a page with a form. It changes nothing: scanners of mail follow links too."""
    participant_id = Links(request.app.state.settings).read(token)
    if participant_id is None:
        return _page(request, "unknown")
    try:
        invitation = await queries.get_invitation(db, participant_id)
    except TROUBLE as error:
        return _page(request, _state_of(error))
    given = Given(invitation["answer"], invitation["answered_times"] or [])
    return _page(request, "asked", invitation, given)


@router.post("/{token}")
async def take_response(token: str, request: Request, db: Db, waker: Wake) -> HTMLResponse:
    """What was recorded, or why nothing was."""
    participant_id = Links(request.app.state.settings).read(token)
    if participant_id is None:
        return _page(request, "unknown")
    invitation = None
    given = _given(await request.body())
    try:
        invitation = await queries.get_invitation(db, participant_id)
        if given is None:
            return _page(request, "no_time", invitation, Given(None, []))
        actor = actor_of(request, "customer", f"link:{participant_id}")
        answer: Answer = "accepted" if given.answer == "accepted" else "declined"
        await queries.record_response_of(db, actor, participant_id, answer, [UUID(time) for time in given.times])
    except TROUBLE as error:
        return _page(request, _state_of(error), invitation, given)
    await waker.wake()
    return _page(request, "recorded", invitation, given)


def _given(body: bytes) -> Given | None:
    """What the form says; None where it is none of ours."""
    form = parse_qs(body.decode(errors="replace"))
    answer = form.get("answer", [""])[0]
    if answer not in get_args(Answer):
        return None
    try:
        times = [str(UUID(time)) for time in form.get("time", [])]
    except ValueError:
        return None
    if len(times) > MAX_TIMES:
        return None
    return Given(answer, times if answer == "accepted" else [])


def _state_of(error: Exception) -> State:
    """What the page says of a refusal. Raises what is nobody's refusal."""
    code = error.code if isinstance(error, Problem) else problem_of(error).code
    if code in STATES:
        return STATES[code]
    if CODES[code].retryable:
        return "busy"
    raise error


def _page(
    request: Request, state: State, invitation: dict[str, object] | None = None, given: Given | None = None
) -> HTMLResponse:
    text = pages_in(request.app.state.settings.message_language).render(state, invitation, given)
    return HTMLResponse(text, STATUSES[state], HEADERS)
