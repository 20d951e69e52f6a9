"""docs/auto-syncs.md says what is so: its commands run as they stand."""

import json
import re
from pathlib import Path

import asyncpg
import httpx2

from tests.sql.auto_syncs import make_crew, started

DOCS = (Path(__file__).parents[2] / "docs" / "auto-syncs.md").read_text()


def commands(language: str) -> list[str]:
    """The page's blocks of that language."""
    return re.findall(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)


async def test_every_statement_runs(conn: asyncpg.Connection) -> None:
    sync = await started(conn, p_now=await conn.fetchval("SELECT now() - interval '1 day 1 hour'"))
    transaction = conn.transaction()
    await transaction.start()
    # the role of the example goes with the transaction
    roles, stats, stuck, now, invariants, prune = commands("sql")

    (counted,) = await conn.fetch(stats)
    assert tuple(counted)[:3] == ("auto_sync_reminder", "pending", 1)
    (late,) = await conn.fetch(stuck)
    assert (late["job_type"], late["event_name"]) == ("auto_sync_reminder", "Five-a-side")
    await conn.execute(now)
    assert await conn.fetch(stuck) == []
    assert await conn.fetchval("SELECT reminded_at IS NOT NULL FROM auto_syncs WHERE id::text = $1", sync["id"])
    assert json.loads(await conn.fetchval(invariants))["violations"] == []
    assert await conn.fetchval(prune) == 0
    *before, query = (part for part in roles.split(";\n") if part.strip())
    await conn.execute(";".join(before))
    assert [tuple(row) for row in await conn.fetch(query)] == [("Five-a-side", "running")]
    await transaction.rollback()


async def test_every_body_is_taken(frontend: httpx2.AsyncClient, conn: asyncpg.Connection) -> None:
    crew_id = await make_crew(conn, "ann")
    question, response = commands("json")

    asked = await frontend.post("/v1/auto-syncs", json=json.loads(question.replace("$CREW", str(crew_id))))
    assert asked.status_code == 201, asked.text
    sync = asked.json()
    body = response.replace("$TIME", sync["times"][0]["id"])
    answered = await frontend.post(f"/v1/auto-syncs/{sync['id']}/responses", json=json.loads(body))

    assert answered.json()["winning_time_id"] == sync["times"][0]["id"]


async def test_the_bodies_of_the_curl_lines_are_taken(frontend: httpx2.AsyncClient) -> None:
    crew, member = (json.loads(body) for body in re.findall(r"-d '(.*?)'", DOCS))

    made = (await frontend.post("/v1/crews", json=crew)).json()
    assert (await frontend.post(f"/v1/crews/{made['id']}/members", json=member)).status_code == 201


async def test_the_steps_are_those_of_the_page(conn: asyncpg.Connection) -> None:
    table = DOCS.partition("## What happens")[2].partition("\n\n-")[0]
    told = {
        (before, after)
        for line in re.findall(r"^\| (`.+?) \| `(\w+)` \|", table, re.MULTILINE)
        for before in re.findall(r"`(\w+)`", line[0])
        for after in [line[1]]
    }
    guard = await conn.fetchval("SELECT prosrc FROM pg_proc WHERE proname = 'auto_syncs_guard_update'")

    assert told == set(re.findall(r"\('(\w+)', '(\w+)'\)", guard))
