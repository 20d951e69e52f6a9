"""booking_reference: seven letters to read out, as many different ones as there are numbers."""

import re

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories import Factory
from tests.sql.support import call_value, raw_booking

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
READABLE = re.compile(f"[{ALPHABET}]{{7}}")
MODULUS = 2**35
BACK = pow(22695477001, -1, MODULUS)

numbers = st.integers(0, MODULUS - 1)
on_one_connection = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def number_of(reference: str) -> int:
    """The number a reference was made of."""
    digits = 0
    for letter in reference:
        digits = digits * 32 + ALPHABET.index(letter)
    return digits * BACK % MODULUS


@on_one_connection
@given(number=numbers)
async def test_a_reference_leads_back_to_its_number_so_no_two_share_one(conn: asyncpg.Connection, number: int) -> None:
    reference = await call_value(conn, "booking_reference", p_number=number)

    assert READABLE.fullmatch(reference)
    assert number_of(reference) == number


@on_one_connection
@given(number=st.integers(0, MODULUS - 2))
async def test_neighbours_do_not_look_alike(conn: asyncpg.Connection, number: int) -> None:
    pair = [await call_value(conn, "booking_reference", p_number=n) for n in (number, number + 1)]

    assert sum(one != other for one, other in zip(*pair, strict=True)) >= 4


async def test_every_writer_gets_a_reference(make: Factory, conn: asyncpg.Connection) -> None:
    slot_id = await make.slot(max_bookings=2)
    await make.booking(slot_id)
    await raw_booking(conn, slot_id)

    references = [row["reference"] for row in await conn.fetch("SELECT reference FROM bookings")]

    assert len(set(references)) == 2
    assert all(READABLE.fullmatch(reference) for reference in references)
