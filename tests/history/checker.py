"""Reads what clients were told against what the database says, and names every promise that is broken.

Pure functions: each is an invariant, bears its name, and yields what speaks against it.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from tests.history.record import History
from tests.history.state import State

HOLDS_PLACE = {"pending", "confirmed", "completed", "no_show"}
SHARED = ("slot_id", "status", "units", "version")
STEPS = {
    (None, "confirmed"),
    ("confirmed", "confirmed"),
    ("confirmed", "cancelled"),
    ("confirmed", "completed"),
}


def _same(one: Any, other: Any) -> bool:
    return all(one[name] == other[name] for name in SHARED)


def acknowledged_is_kept(history: History, state: State) -> Iterator[str]:
    """What was answered as done is on record just as it was answered, and its booking is there."""
    changes = state.changes_of()
    for intent in history.intents:
        for body in intent.acknowledged:
            if body["id"] not in state.bookings:
                yield f"{intent.kind} {intent.key}: booking {body['id']} is gone"
            elif not any(_same(body, change.after) for change in changes[body["id"]]):
                yield f"{intent.kind} {intent.key}: version {body['version']} of {body['id']} never was"


def one_effect_per_key(history: History, state: State) -> Iterator[str]:
    """However often an intent was asked for, it changed one booking once, or nothing."""
    changes = state.changes_by_key()
    for intent in history.intents:
        if len(changes[intent.key]) > 1:
            yield f"{intent.kind} {intent.key}: {len(changes[intent.key])} changes"
    for ref, count in Counter(booking["ref"] for booking in state.bookings.values()).items():
        if count > 1:
            yield f"{count} bookings for {ref}"


def replays_are_equal(history: History, _state: State) -> Iterator[str]:
    """Whoever asks again is told the same."""
    for intent in history.intents:
        if any(body != intent.acknowledged[0] for body in intent.acknowledged):
            yield f"{intent.kind} {intent.key}: {intent.acknowledged}"


def refused_leaves_nothing(history: History, state: State) -> Iterator[str]:
    """What was refused, each time it was asked for, did not happen."""
    changes = state.changes_by_key()
    for intent in history.intents:
        if intent.is_refused and changes[intent.key]:
            yield f"{intent.kind} {intent.key}: refused, and happened"


def no_change_is_overwritten(history: History, _state: State) -> Iterator[str]:
    """A change follows the version that its sender had seen, and no two answers claim the same."""
    claimed: dict[tuple[str, int], str] = {}
    for intent in history.intents:
        for body in intent.acknowledged[:1]:
            before = intent.booking["version"] if intent.booking else 0
            if body["version"] != before + 1:
                yield f"{intent.kind} {intent.key}: version {before} became {body['version']}"
            other = claimed.setdefault((body["id"], body["version"]), intent.key)
            if other != intent.key:
                yield f"{intent.key} and {other} were both told version {body['version']} of {body['id']}"


def no_slot_is_oversold(_history: History, state: State) -> Iterator[str]:
    """After every change that there was, each slot had no more bookings than it has places."""
    taken: Counter[str] = Counter()
    for change in state.changes:
        for values, sign in ((change.before, -1), (change.after, 1)):
            if values and values["status"] in HOLDS_PLACE:
                taken[values["slot_id"]] += sign
        slot_id = change.after["slot_id"]
        if taken[slot_id] > state.slots[slot_id]["max_bookings"]:
            yield f"slot {slot_id}: {taken[slot_id]} of {state.slots[slot_id]['max_bookings']}"


def counters_equal_a_recount(_history: History, state: State) -> Iterator[str]:
    """Each slot counts the bookings that hold a place in it, and they are no more than it has."""
    taken = Counter(booking["slot_id"] for booking in state.bookings.values() if booking["holds_place"])
    for slot_id, slot in state.slots.items():
        if slot["booked_bookings"] != taken[slot_id]:
            yield f"slot {slot_id} says {slot['booked_bookings']}, and has {taken[slot_id]}"
        if taken[slot_id] > slot["max_bookings"]:
            yield f"slot {slot_id} has {taken[slot_id]} of {slot['max_bookings']}"


def every_booking_has_its_job(_history: History, state: State) -> Iterator[str]:
    """A confirmed booking has one pending job, due when it ends; any other has none."""
    for booking in state.bookings.values():
        wanted = [("complete_booking", booking["ends_at"])] if booking["status"] == "confirmed" else []
        found = [(job["job_type"], job["scheduled_at"]) for job in state.jobs.get(booking["id"], [])]
        if found != wanted:
            yield f"booking {booking['id']} is {booking['status']}, and its jobs are {found}"


def audit_equals_the_changes(_history: History, state: State) -> Iterator[str]:
    """A booking's audit trail leads from nothing to its row, version by version, each from where the last one ended."""
    changes = state.changes_of()
    yield from (f"{booking_id} is on record, and gone" for booking_id in changes.keys() - state.bookings.keys())
    for booking in state.bookings.values():
        trail = changes[booking["id"]]
        if [change.after["version"] for change in trail] != list(range(1, booking["version"] + 1)):
            yield f"booking {booking['id']}: versions {[change.after['version'] for change in trail]}"
        elif not _same(trail[-1].after, booking):
            yield f"booking {booking['id']}: its trail ends at {trail[-1].after}"
        elif any(after.before != before.after for before, after in pairwise(trail)):
            yield f"booking {booking['id']}: its trail is broken"


def a_status_takes_known_steps(_history: History, state: State) -> Iterator[str]:
    """Nothing comes back from its end, and nothing ends twice."""
    for change in state.changes:
        step = change.before["status"] if change.before else None, change.after["status"]
        if step not in STEPS:
            yield f"booking {change.booking_id}: {step}"


def only_the_holder_settles(history: History, _state: State) -> Iterator[str]:
    """Of all who were given a job, the last alone was told that its work counts, and once."""
    for job_id, events in history.tokens().items():
        held, is_over = 0, False
        for event in events:
            if event.answer == "claimed":
                held = event.lease_token
            elif event.answer == "ok":
                if event.lease_token != held or is_over:
                    yield f"job {job_id}: settled under {event.lease_token}, held under {held}"
                is_over = True


def nothing_due_is_left(_history: History, state: State) -> Iterator[str]:
    """At rest, whatever is over is completed."""
    for booking in state.bookings.values():
        if booking["status"] == "confirmed" and booking["ends_at"] < state.now:
            yield f"booking {booking['id']} ended at {booking['ends_at']}"


INVARIANTS: tuple[Callable[[History, State], Iterator[str]], ...] = (
    acknowledged_is_kept,
    one_effect_per_key,
    replays_are_equal,
    refused_leaves_nothing,
    no_change_is_overwritten,
    no_slot_is_oversold,
    counters_equal_a_recount,
    every_booking_has_its_job,
    audit_equals_the_changes,
    a_status_takes_known_steps,
    only_the_holder_settles,
    nothing_due_is_left,
)


def broken(history: History, state: State) -> dict[str, list[str]]:
    """What speaks against each promise that is broken; nothing where all hold."""
    found = {invariant.__name__: list(invariant(history, state)) for invariant in INVARIANTS}
    return {name: against for name, against in found.items() if against}
