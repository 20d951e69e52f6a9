"""openapi.json is what the app answers to, complete enough to make a client from."""

import json

import pytest

from tests.contracts.support import ROOT, Operation, api_description, operations

DOCUMENT = api_description()
OPERATIONS = list(operations(DOCUMENT))
WRITES = [operation for operation in OPERATIONS if operation.method != "get" and operation.path.startswith("/v1/")]

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
    "booking_history": "get /v1/bookings/{booking_id}/history",
    "process_jobs": "post /cron/process-jobs",
    "process_jobs_by_get": "get /cron/process-jobs",
    "healthz": "get /healthz",
    "readyz": "get /readyz",
}


def name_of(operation: Operation) -> str:
    return str(operation.spec["operationId"])


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
    assert {"401", "403", "422"} <= operation.errors.keys()
    assert operation.spec["security"]


@pytest.mark.parametrize("operation", OPERATIONS, ids=name_of)
def test_an_operation_that_needs_a_token_declares_both_refusals_and_no_other_does(operation: Operation) -> None:
    refusals = {"401", "403"} & operation.errors.keys()

    assert refusals == ({"401", "403"} if "security" in operation.spec else set())


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


@pytest.mark.parametrize("operation", OPERATIONS, ids=name_of)
def test_every_success_has_a_schema(operation: Operation) -> None:
    successes = {status: r for status, r in operation.spec["responses"].items() if status not in operation.errors}

    assert len(successes) == 1
    for response in successes.values():
        assert "$ref" in response["content"]["application/json"]["schema"]


def test_every_reference_leads_somewhere() -> None:
    text = json.dumps(DOCUMENT)
    schemas = DOCUMENT["components"]["schemas"]

    referred = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert referred == set(schemas)
