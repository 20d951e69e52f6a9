"""While a new version rolls out, the one before it still runs: what that one calls, the migrated database still has."""

import asyncpg
import pytest

# Every call of the version before revision 0004: function -> the parameters it names.
CALLS: dict[str, set[str]] = {
    "create_booking_safe": {
        "p_actor",
        "p_slot_id",
        "p_customer",
        "p_units",
        "p_payment_method",
        "p_metadata",
        "p_idempotency_key",
        "p_request_hash",
    },
    "cancel_booking": {
        "p_actor",
        "p_booking_id",
        "p_version",
        "p_idempotency_key",
        "p_request_hash",
        "p_reason",
    },
    "confirm_booking": {
        "p_actor",
        "p_booking_id",
        "p_version",
        "p_idempotency_key",
        "p_request_hash",
        "p_reason",
    },
    "mark_no_show": {"p_actor", "p_booking_id", "p_version", "p_idempotency_key", "p_request_hash", "p_reason"},
    "record_payment": {
        "p_actor",
        "p_booking_id",
        "p_version",
        "p_idempotency_key",
        "p_request_hash",
        "p_payment_status",
    },
    "reschedule_booking": {
        "p_actor",
        "p_booking_id",
        "p_version",
        "p_idempotency_key",
        "p_request_hash",
        "p_slot_id",
    },
    "get_booking": {"p_booking_id"},
    "booking_history": {"p_booking_id"},
    "list_bookings": {
        "p_status",
        "p_resource_id",
        "p_customer_ref",
        "p_from",
        "p_to",
        "p_updated_since",
        "p_limit",
        "p_cursor",
    },
    "import_bookings": {"p_actor", "p_rows"},
    "create_resource": {"p_actor", "p_name", "p_timezone", "p_metadata"},
    "update_resource": {"p_actor", "p_resource_id", "p_version", "p_name", "p_timezone", "p_metadata"},
    "get_resource": {"p_resource_id"},
    "list_resources": {"p_limit", "p_cursor"},
    "add_slots": {"p_actor", "p_resource_id", "p_slots"},
    "available_slots": {"p_resource_id", "p_from", "p_to", "p_tz", "p_units"},
    "find_api_key": {"p_key_hash"},
    "complete_due_bookings": {"p_actor", "p_limit"},
    "expire_due_bookings": {"p_actor", "p_limit"},
    "prune_idempotency_keys": {"p_limit"},
    "due_jobs": set(),
}
PARAMETERS = """
    SELECT coalesce(proargnames[:pronargs], '{}') AS names, pronargs - pronargdefaults AS needed
    FROM pg_proc WHERE pronamespace = 'holdfast'::regnamespace AND proname = $1
"""


@pytest.mark.parametrize("function", CALLS)
async def test_an_older_apps_call_still_finds_its_function(conn: asyncpg.Connection, function: str) -> None:
    (found,) = await conn.fetch(PARAMETERS, function)

    assert CALLS[function] <= set(found["names"])
    assert set(found["names"][: found["needed"]]) <= CALLS[function]


async def test_an_older_app_reads_availability_from_the_first_column(conn: asyncpg.Connection) -> None:
    resource_id = await conn.fetchval("INSERT INTO resources (name, timezone) VALUES ('Pitch', 'UTC') RETURNING id")

    (row,) = await conn.fetch(
        "SELECT * FROM available_slots(p_resource_id => $1, p_from => now(), p_to => now() + interval '1 day')",
        resource_id,
    )

    assert str(resource_id) in row[0]
