"""openapi.json is what the app answers to, complete enough to make a client from."""

import json

import pytest

from tests.contracts.support import ROOT, Operation, api_description, operations

DOCUMENT = api_description()
OPERATIONS = list(operations(DOCUMENT))
WRITES = [operation for operation in OPERATIONS if operation.method != "get" and operation.path.startswith("/v1/")]
# Whoever signs with the secret is let in: there is no scope that could be the wrong one.
SIGNED = {"take_stripe_event", "take_sms"}
# Neither a success with a body nor a problem.
UNCHANGED = "304"
NOTHING_TO_SAY = {"delete_credentials", "delete_legal_hold", "revoke_calendar_feed", "take_sms"}
MEDIA_TYPES = {"resource_calendar": "text/calendar", "customer_calendar": "text/calendar", "metrics": "text/plain"}
STREAMS = {"stream_events": "Event"}

# Clients are generated with these names: add to them, never rename.
PUBLISHED = {
    "create_resource": "post /v1/resources",
    "list_resources": "get /v1/resources",
    "get_resource": "get /v1/resources/{resource_id}",
    "update_resource": "patch /v1/resources/{resource_id}",
    "add_slots": "post /v1/resources/{resource_id}/slots",
    "available_slots": "get /v1/available-slots",
    "create_booking": "post /v1/bookings",
    "list_bookings": "get /v1/bookings",
    "get_booking": "get /v1/bookings/{booking_id}",
    "cancel_booking": "post /v1/bookings/{booking_id}/cancel",
    "reschedule_booking": "post /v1/bookings/{booking_id}/reschedule",
    "record_payment": "post /v1/bookings/{booking_id}/payment",
    "confirm_booking": "post /v1/bookings/{booking_id}/confirm",
    "mark_no_show": "post /v1/bookings/{booking_id}/no-show",
    "put_schedule": "put /v1/resources/{resource_id}/schedule",
    "get_schedule": "get /v1/resources/{resource_id}/schedule",
    "put_exception": "put /v1/resources/{resource_id}/exceptions/{date}",
    "delete_exception": "delete /v1/resources/{resource_id}/exceptions/{date}",
    "given_slots": "get /v1/slots",
    "create_bookings": "post /v1/bookings/batch",
    "create_recurring_bookings": "post /v1/bookings/recurring",
    "join_waitlist": "post /v1/waitlist",
    "list_waitlist": "get /v1/waitlist",
    "get_waitlist_entry": "get /v1/waitlist/{entry_id}",
    "accept_offer": "post /v1/waitlist/{entry_id}/accept",
    "leave_waitlist": "post /v1/waitlist/{entry_id}/leave",
    "take_stripe_event": "post /v1/payment-events/stripe",
    "list_payment_events": "get /v1/payment-events",
    "resource_calendar": "get /v1/resources/{resource_id}/calendar.ics",
    "customer_calendar": "get /v1/customers/{ref}/calendar.ics",
    "create_resource_calendar_feed": "post /v1/resources/{resource_id}/calendar-feeds",
    "list_resource_calendar_feeds": "get /v1/resources/{resource_id}/calendar-feeds",
    "create_customer_calendar_feed": "post /v1/customers/{ref}/calendar-feeds",
    "list_customer_calendar_feeds": "get /v1/customers/{ref}/calendar-feeds",
    "revoke_calendar_feed": "delete /v1/calendar-feeds/{feed_id}",
    "check_invariants": "get /v1/invariants",
    "booking_history": "get /v1/bookings/{booking_id}/history",
    "stream_events": "get /v1/events",
    "list_events": "get /v1/events/page",
    "process_jobs": "post /cron/process-jobs",
    "process_jobs_by_get": "get /cron/process-jobs",
    "healthz": "get /healthz",
    "readyz": "get /readyz",
    "jobs_readiness": "get /readyz/jobs",
    "metrics": "get /metrics",
    "list_jobs": "get /v1/jobs",
    "job_stats": "get /v1/jobs/stats",
    "get_job": "get /v1/jobs/{job_id}",
    "retry_job": "post /v1/jobs/{job_id}/retry",
    "cancel_job": "post /v1/jobs/{job_id}/cancel",
    "put_queue": "put /v1/job-queues/{name}",
    "pause_queue": "post /v1/job-queues/{name}/pause",
    "resume_queue": "post /v1/job-queues/{name}/resume",
    "create_prebooking": "post /v1/prebookings",
    "list_prebookings": "get /v1/prebookings",
    "get_prebooking": "get /v1/prebookings/{prebooking_id}",
    "cancel_prebooking": "post /v1/prebookings/{prebooking_id}/cancel",
    "put_provider": "put /v1/providers/{name}",
    "list_providers": "get /v1/providers",
    "get_provider": "get /v1/providers/{name}",
    "put_credentials": "put /v1/credentials/{provider}",
    "list_credentials": "get /v1/credentials",
    "delete_credentials": "delete /v1/credentials/{provider}",
    "create_webhook_endpoint": "post /v1/webhook-endpoints",
    "list_webhook_endpoints": "get /v1/webhook-endpoints",
    "get_webhook_endpoint": "get /v1/webhook-endpoints/{endpoint_id}",
    "update_webhook_endpoint": "patch /v1/webhook-endpoints/{endpoint_id}",
    "disable_webhook_endpoint": "delete /v1/webhook-endpoints/{endpoint_id}",
    "rotate_webhook_secret": "post /v1/webhook-endpoints/{endpoint_id}/rotate-secret",
    "test_webhook_endpoint": "post /v1/webhook-endpoints/{endpoint_id}/test",
    "replay_events": "post /v1/webhook-endpoints/{endpoint_id}/replay",
    "list_deliveries": "get /v1/deliveries",
    "get_delivery": "get /v1/deliveries/{delivery_id}",
    "replay_delivery": "post /v1/deliveries/{delivery_id}/replay",
    "list_messages": "get /v1/messages",
    "preview_message": "post /v1/messages/preview",
    "list_channels": "get /v1/message-channels",
    "put_channel": "put /v1/message-channels/{name}",
    "get_preferences": "get /v1/customers/{ref}/preferences",
    "put_preferences": "put /v1/customers/{ref}/preferences",
    "list_customers": "get /v1/customers",
    "export_customer": "post /v1/customers/{ref}/export",
    "erase_customer": "post /v1/customers/{ref}/erase",
    "put_legal_hold": "put /v1/customers/{ref}/legal-hold",
    "delete_legal_hold": "delete /v1/customers/{ref}/legal-hold",
    "take_sms": "post /v1/sms-inbound",
    "create_crew": "post /v1/crews",
    "list_crews": "get /v1/crews",
    "get_crew": "get /v1/crews/{crew_id}",
    "list_crew_members": "get /v1/crews/{crew_id}/members",
    "add_crew_member": "post /v1/crews/{crew_id}/members",
    "remove_crew_member": "delete /v1/crews/{crew_id}/members/{member_id}",
    "create_auto_sync": "post /v1/auto-syncs",
    "list_auto_syncs": "get /v1/auto-syncs",
    "get_auto_sync": "get /v1/auto-syncs/{auto_sync_id}",
    "record_response": "post /v1/auto-syncs/{auto_sync_id}/responses",
    "pause_auto_sync": "post /v1/auto-syncs/{auto_sync_id}/pause",
    "resume_auto_sync": "post /v1/auto-syncs/{auto_sync_id}/resume",
    "cancel_auto_sync": "post /v1/auto-syncs/{auto_sync_id}/cancel",
    "create_api_key": "post /v1/api-keys",
    "list_api_keys": "get /v1/api-keys",
    "rotate_api_key": "post /v1/api-keys/{key_id}/rotate",
    "revoke_api_key": "post /v1/api-keys/{key_id}/revoke",
}


def name_of(operation: Operation) -> str:
    return str(operation.spec["operationId"])


def refusals_of_strangers(operation: Operation) -> set[str]:
    return {"401"} if name_of(operation) in SIGNED else {"401", "403"}


def test_the_committed_description_is_the_apps_own() -> None:
    assert json.loads((ROOT / "openapi.json").read_text()) == DOCUMENT


def test_operation_ids_are_unique_and_what_was_published_stays() -> None:
    current = {name_of(operation): f"{operation.method} {operation.path}" for operation in OPERATIONS}

    assert len(current) == len(OPERATIONS)
    assert current == current | PUBLISHED


@pytest.mark.parametrize("operation", OPERATIONS, ids=name_of)
def test_an_operation_says_what_it_does_and_where_it_belongs(operation: Operation) -> None:
    assert operation.spec["summary"]
    assert operation.spec["description"]
    assert len(operation.spec["tags"]) == 1


@pytest.mark.parametrize("operation", WRITES, ids=name_of)
def test_a_write_declares_who_may_not_and_what_it_does_not_take(operation: Operation) -> None:
    assert refusals_of_strangers(operation) | {"422"} <= operation.errors.keys()
    assert operation.spec["security"]


@pytest.mark.parametrize("operation", OPERATIONS, ids=name_of)
def test_an_operation_that_needs_a_token_declares_both_refusals_and_no_other_does(operation: Operation) -> None:
    refusals = {"401", "403"} & operation.errors.keys()

    assert refusals == (refusals_of_strangers(operation) if "security" in operation.spec else set())


@pytest.mark.parametrize("operation", OPERATIONS, ids=name_of)
def test_an_operation_that_counts_its_callers_or_their_wrong_tokens_declares_that_it_may_be_too_much(
    operation: Operation,
) -> None:
    is_public = "security" not in operation.spec
    counts = operation.path.startswith("/v1/") if is_public else name_of(operation) not in SIGNED

    assert ("429" in operation.errors) is counts


@pytest.mark.parametrize("operation", OPERATIONS, ids=name_of)
def test_every_error_is_a_problem_with_its_shape(operation: Operation) -> None:
    for status, response in operation.errors.items():
        assert list(response["content"]) == ["application/problem+json"], status
        schema = response["content"]["application/problem+json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/ProblemBody"}, status


@pytest.mark.parametrize("operation", OPERATIONS, ids=name_of)
def test_every_example_of_an_error_carries_the_status_it_stands_under(operation: Operation) -> None:
    for status, response in operation.errors.items():
        examples = response["content"]["application/problem+json"]["examples"]
        assert {example["value"]["status"] for example in examples.values()} == {int(status)}


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if name_of(o) in STREAMS], ids=name_of)
def test_every_item_of_a_stream_has_a_schema(operation: Operation) -> None:
    item = operation.spec["responses"]["200"]["content"]["text/event-stream"]["itemSchema"]

    expected = {"$ref": f"#/components/schemas/{STREAMS[name_of(operation)]}"}
    assert item["properties"]["data"]["contentSchema"] == expected


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if name_of(o) not in STREAMS], ids=name_of)
def test_every_success_has_a_schema(operation: Operation) -> None:
    (success,) = (r for status, r in operation.spec["responses"].items() if status.startswith("2"))

    if name_of(operation) in NOTHING_TO_SAY:
        assert "content" not in success
        return
    media_type = MEDIA_TYPES.get(name_of(operation), "application/json")
    assert list(success["content"]) == [media_type]
    assert ("$ref" in success["content"][media_type]["schema"]) is (media_type == "application/json")


def test_what_may_be_asked_again_cheaply_says_so() -> None:
    (asked,) = (operation for operation in OPERATIONS if UNCHANGED in operation.spec["responses"])

    assert name_of(asked) == "available_slots"
    assert "content" not in asked.spec["responses"][UNCHANGED]


def test_every_reference_leads_somewhere() -> None:
    text = json.dumps(DOCUMENT)
    schemas = DOCUMENT["components"]["schemas"]

    referred = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert referred == set(schemas)
