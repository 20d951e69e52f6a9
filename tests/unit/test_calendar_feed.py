"""The iCalendar of bookings: what a calendar reads back, and that no name gets out of its line."""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Literal, cast
from uuid import UUID

import pytest
from asyncpg import Record
from hypothesis import example, given
from hypothesis import strategies as st
from icalendar import Calendar

from app.calendars.feed import calendar

BOOKING_ID = UUID("0b7c1f0e-5e0e-4b43-9c39-5a1f3f1b6a52")
START = datetime(2030, 6, 3, 10, tzinfo=UTC)
ATHENS = timezone(timedelta(hours=3))
# what one booking's feed consists of, line by line
NAMES = ["BEGIN", "VERSION", "PRODID", "X-WR-CALNAME", "BEGIN"]
NAMES += ["SUMMARY", "DTSTART", "DTEND", "DTSTAMP", "UID", "SEQUENCE", "CREATED", "DESCRIPTION", "LAST-MODIFIED"]
NAMES += ["STATUS", "END", "END"]
MAX_OCTETS = 75


def booking(**columns: Any) -> Record:
    """A row of calendar_bookings."""
    row = {
        "booking_id": BOOKING_ID,
        "reference": "N4C2ZR9",
        "resource_name": "Pitch",
        "customer": "Ann",
        "status": "confirmed",
        "units": 2,
        "starts_at": START,
        "ends_at": START + timedelta(hours=1),
        "version": 3,
        "created_at": START - timedelta(days=2),
        "updated_at": START - timedelta(days=1),
    }
    return cast("Record", row | columns)


def feed_of(
    *bookings: Record, name: str = "Bookings", summary: Literal["resource_name", "customer"] = "customer"
) -> str:
    return calendar(name, bookings, summary).decode()


def event_of(feed: str) -> Any:
    """The feed's one event, as another calendar reads it."""
    (event,) = Calendar.from_ical(feed).events
    return event


def unfolded(feed: str) -> list[str]:
    """The feed's content lines, without the folds (RFC 5545, 3.1)."""
    assert feed.endswith("\r\n")
    return feed.replace("\r\n ", "").removesuffix("\r\n").split("\r\n")


def names_of(feed: str) -> list[str]:
    return [re.split("[:;]", line, maxsplit=1)[0] for line in unfolded(feed)]


def test_an_event_says_when_what_and_how_often_it_changed() -> None:
    event = event_of(feed_of(booking()))

    assert (event["uid"], event["sequence"]) == (f"{BOOKING_ID}@holdfast", 3)
    assert (event.start, event.end) == (START, START + timedelta(hours=1))
    assert (event["summary"], event["status"]) == ("Ann", "CONFIRMED")
    assert event["description"] == "N4C2ZR9, confirmed, units: 2"
    assert event["dtstamp"].dt == event["last-modified"].dt == START - timedelta(days=1)
    assert event["created"].dt == START - timedelta(days=2)


def test_times_are_in_utc_whatever_zone_they_come_in() -> None:
    lines = unfolded(feed_of(booking(starts_at=START.astimezone(ATHENS), created_at=START.astimezone(ATHENS))))

    assert {"DTSTART:20300603T100000Z", "CREATED:20300603T100000Z"} <= set(lines)
    assert not [line for line in lines if "TZID" in line]


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ("pending", "TENTATIVE"),
        ("confirmed", "CONFIRMED"),
        ("completed", "CONFIRMED"),
        ("no_show", "CONFIRMED"),
        ("cancelled", "CANCELLED"),
        ("failed", "CANCELLED"),
        ("expired", "CANCELLED"),
    ],
)
def test_a_status_is_shown_as_calendars_know_it(status: str, shown: str) -> None:
    event = event_of(feed_of(booking(status=status)))

    assert event["status"] == shown
    assert f", {status}, " in event["description"]


def test_a_change_keeps_the_uid_and_raises_the_sequence() -> None:
    before, after = (event_of(feed_of(booking(version=version))) for version in (1, 2))

    assert before["uid"] == after["uid"]
    assert before["sequence"] < after["sequence"]


def test_the_title_is_the_column_that_the_reader_does_not_know_already() -> None:
    assert event_of(feed_of(booking(), summary="customer"))["summary"] == "Ann"
    assert event_of(feed_of(booking(), summary="resource_name"))["summary"] == "Pitch"


def test_a_booking_of_somebody_who_was_erased_goes_by_its_reference() -> None:
    assert event_of(feed_of(booking(customer=None)))["summary"] == "N4C2ZR9"


def test_a_calendar_without_bookings_is_one_and_has_a_name() -> None:
    feed = feed_of(name="My bookings")

    read = Calendar.from_ical(feed)
    assert (read.events, read.errors) == ([], [])
    assert (read["version"], read["prodid"]) == ("2.0", "-//Holdfast//Bookings//EN")
    assert read["x-wr-calname"] == "My bookings"


def test_every_booking_is_an_event_in_the_order_they_came() -> None:
    ids = [UUID(int=n) for n in (3, 1, 2)]

    events = Calendar.from_ical(feed_of(*(booking(booking_id=n) for n in ids))).events

    assert [event["uid"] for event in events] == [f"{n}@holdfast" for n in ids]


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=200))
@example(text="Ann\r\nATTENDEE:mailto:eve@example.com")
@example(text="Ann\nEND:VEVENT\nBEGIN:VEVENT\nSUMMARY:Eve")
@example(text="Ann\rSTATUS:CANCELLED")
@example(text="Ann\r\n\tfolded")
@example(text='semi;colon, comma: "quote" back\\slash \\n')
@example(text='SUMMARY;X="a:b":\\, \\; \\N')
@example(text="Ann\u2028END:VCALENDAR\x85END:VCALENDAR\x0bEND:VCALENDAR")
@example(text="x" * 200)
@example(text="é" * 200)
@example(text="\U0001f3be" * 200)
def test_a_name_stays_within_its_line_and_reads_back(text: str) -> None:
    feed = feed_of(booking(customer=text))

    assert names_of(feed) == NAMES
    # icalendar takes \N for the end of a line already when it writes
    assert event_of(feed)["summary"] == re.sub(r"\r\n?|\\N", "\n", text)


@given(text=st.text("aé\u20ac\U0001f3be \\;,", max_size=200))
@example(text="\U0001f3be" * 200)
def test_no_line_is_longer_than_calendars_take(text: str) -> None:
    feed = calendar("Bookings", [booking(customer=text)], "customer")

    assert max(map(len, feed.split(b"\r\n"))) <= MAX_OCTETS
    # a fold may not tear a character apart
    for line in feed.split(b"\r\n"):
        line.decode()
