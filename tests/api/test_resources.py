"""/v1/resources: added and changed by admins, read by everybody."""

from uuid import uuid4

import asyncpg
import httpx2
import pytest

from tests.api.calls import assert_problem
from tests.factories import Factory

PITCH = {"name": "Pitch 1", "timezone": "Europe/Athens", "metadata": {"surface": "clay", "lights": True}}


async def test_a_new_resource_is_answered_as_it_was_sent(admin: httpx2.AsyncClient) -> None:
    answer = await admin.post("/v1/resources", json=PITCH)

    body = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/resources/{body['id']}"
    assert answer.headers["etag"] == '"1"'
    assert body.items() >= PITCH.items()
    assert body["version"] == 1


async def test_everybody_reads_a_resource_at_its_location(
    admin: httpx2.AsyncClient, public: httpx2.AsyncClient
) -> None:
    created = await admin.post("/v1/resources", json=PITCH)

    read = await public.get(created.headers["location"])

    assert (read.status_code, read.headers["etag"]) == (200, '"1"')
    assert read.json() == created.json()


async def test_an_unknown_resource_is_not_found(public: httpx2.AsyncClient) -> None:
    resource_id = str(uuid4())

    problem = assert_problem(await public.get(f"/v1/resources/{resource_id}"), 404, "resource_not_found")

    assert problem["resource_id"] == resource_id


async def test_pages_of_resources_hold_each_of_them_once_in_order_of_creation(
    make: Factory, public: httpx2.AsyncClient
) -> None:
    made = [str(await make.resource(f"Pitch {n}")) for n in range(5)]

    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await public.get("/v1/resources", params={"limit": 2, **cursor})).json()
        assert len(page["items"]) <= 2
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}

    assert seen == made


async def test_a_patch_changes_what_is_given_and_keeps_the_rest(admin: httpx2.AsyncClient) -> None:
    created = await admin.post("/v1/resources", json=PITCH)

    changed = await admin.patch(
        created.headers["location"], json={"name": "Centre court"}, headers={"If-Match": created.headers["etag"]}
    )

    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    body = changed.json()
    assert (body["name"], body["version"]) == ("Centre court", 2)
    assert (body["timezone"], body["metadata"]) == (PITCH["timezone"], PITCH["metadata"])


async def test_a_patch_needs_the_version_that_it_is_based_on(admin: httpx2.AsyncClient, make: Factory) -> None:
    url = f"/v1/resources/{await make.resource()}"

    assert_problem(await admin.patch(url, json={"name": "B"}), 428, "precondition_required")
    first = await admin.patch(url, json={"name": "C"}, headers={"If-Match": '"1"'})
    stale = await admin.patch(url, json={"name": "D"}, headers={"If-Match": '"1"'})

    assert first.status_code == 200
    assert assert_problem(stale, 412, "version_conflict")["current_version"] == 2
    assert (await admin.get(url)).json()["name"] == "C"


@pytest.mark.parametrize("timezone", ["", "utc", "Mars/Olympus", "../../etc/passwd", "posixrules", "localtime"])
async def test_a_time_zone_outside_the_iana_list_is_refused(
    admin: httpx2.AsyncClient, conn: asyncpg.Connection, timezone: str
) -> None:
    answer = await admin.post("/v1/resources", json=PITCH | {"timezone": timezone})

    problem = assert_problem(answer, 422, "validation")
    assert problem["errors"][0]["field"] == "body.timezone"
    assert await conn.fetchval("SELECT count(*) FROM resources") == 0


@pytest.mark.parametrize("name", ["", "   ", "x" * 201, None, 7])
async def test_a_name_that_names_nothing_is_refused(admin: httpx2.AsyncClient, name: object) -> None:
    answer = await admin.post("/v1/resources", json=PITCH | {"name": name})

    assert assert_problem(answer, 422, "validation")["errors"][0]["field"] == "body.name"


async def test_a_misspelt_field_is_refused_instead_of_ignored(admin: httpx2.AsyncClient) -> None:
    answer = await admin.post("/v1/resources", json=PITCH | {"time_zone": "UTC"})

    assert assert_problem(answer, 422, "validation")["errors"][0]["field"] == "body.time_zone"


async def test_metadata_comes_back_as_it_was_sent(admin: httpx2.AsyncClient) -> None:
    metadata = {"größe": ["ß", "🎾", None, 0.1, -1, 2**53], "nested": {"empty": {}, "list": []}, "": ""}

    created = await admin.post("/v1/resources", json=PITCH | {"metadata": metadata})

    assert created.json()["metadata"] == metadata
