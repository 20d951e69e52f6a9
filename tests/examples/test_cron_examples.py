"""examples/cron: each caller is written as its scheduler reads it, calls what it should, and gives no secret away."""

import asyncio
import configparser
import inspect
import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
import yaml  # type: ignore[import-untyped]

from app.jobs import housekeeping
from app.jobs.processor import ANSWER_LIMIT
from tests.examples.support import CRON, Gate
from tests.live import live_server

ADDRESS = "/cron/process-jobs"
PATIENCE = 30
FILES = sorted(path for path in CRON.iterdir() if path.is_file())
OVER_HTTP = [
    path for path in FILES if path.name not in {"README.md", "holdfast-jobs.timer", "pg_cron.sql", "vercel.json"}
]
# all that may follow the word: a variable, a placeholder, or what is put there at run time
AFTER_BEARER = re.compile(r"Bearer (?!\$CRON_SECRET|%s\\n|' \|\| v_secret|<CRON_SECRET)")

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on PATH")
needs_proc = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="there is no /proc to look into")


class Call(NamedTuple):
    """A command as a scheduler runs it, and what it finds in its environment besides."""

    command: list[str]
    environment: dict[str, str]


def unit(name: str) -> configparser.ConfigParser:
    """A systemd unit, read closely enough for what stands in these."""
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((CRON / name).read_text())
    return parser


def document(name: str) -> Any:
    """A YAML file with every value as text, since `on` is a truth to YAML and a name to GitHub."""
    return yaml.load((CRON / name).read_text(), Loader=yaml.BaseLoader)  # noqa: S506 - it makes nothing but text


def crontab_lines() -> list[str]:
    return [line for line in (CRON / "crontab").read_text().splitlines() if line and not line.startswith("#")]


def variables_and_entries() -> tuple[dict[str, str], list[str]]:
    lines = crontab_lines()
    variables = [line for line in lines if re.match(r"\w+=", line)]
    return dict(line.split("=", 1) for line in variables), [line for line in lines if line not in variables]


def container() -> Any:
    return document("kubernetes.yaml")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]


def workflow_step() -> Any:
    (step,) = document("github-actions.yml")["jobs"]["call"]["steps"]
    return step


def header_file(recipe_in: str, folder: Path, secret: str) -> Path:
    """The file that holds the header, made by the very line that the example gives for it."""
    recipe = re.search(r"\(umask .*\)", (CRON / recipe_in).read_text())
    assert recipe
    made = folder / "cron-header"
    line = re.sub(r"> \S+\)$", '> "$HEADER_FILE")', recipe[0])
    environment = {**os.environ, "CRON_SECRET": secret, "HEADER_FILE": str(made)}
    subprocess.run(["/bin/sh", "-c", line], env=environment, check=True)
    return made


def crontab_call(url: str, secret: str, folder: Path) -> Call:
    _, (entry,) = variables_and_entries()
    made = header_file("crontab", folder, secret)
    return Call(["/bin/sh", "-c", entry.split(maxsplit=5)[5]], {"HOLDFAST_URL": url, "HEADER_FILE": str(made)})


def systemd_call(url: str, secret: str, folder: Path) -> Call:
    # systemd gives it a folder of this shape, see LoadCredential
    header_file("holdfast-jobs.service", folder, secret).rename(folder / "header")
    given = {"CREDENTIALS_DIRECTORY": str(folder), "HOLDFAST_URL": url}
    words = shlex.split(unit("holdfast-jobs.service")["Service"]["ExecStart"])
    words[0] = shutil.which("curl") or words[0]
    return Call([re.sub(r"\$\{(\w+)\}", lambda name: given[name[1]], word) for word in words], {})


def kubernetes_call(url: str, secret: str, _folder: Path) -> Call:
    return Call(container()["command"], {"HOLDFAST_URL": url, "CRON_SECRET": secret})


def github_call(url: str, secret: str, _folder: Path) -> Call:
    return Call(["bash", "-e", "-c", workflow_step()["run"]], {"HOLDFAST_URL": url, "CRON_SECRET": secret})


def careless_call(url: str, secret: str, _folder: Path) -> Call:
    return Call(["curl", "-fsS", "-X", "POST", "-H", f"Authorization: Bearer {secret}", url + ADDRESS], {})


CALLS = [crontab_call, systemd_call, kubernetes_call, github_call]


@pytest.fixture
def secret() -> str:
    """A secret that is in nobody else's command line, tests of other workers included."""
    return secrets.token_urlsafe(24)


async def run(call: Call) -> str:
    """What the command printed; it must end with 0."""
    process = await asyncio.create_subprocess_exec(
        *call.command,
        env={"PATH": os.environ["PATH"], **call.environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 0, printed
    return printed.decode()


def shown(gate: Gate, secret: str) -> bool:
    """Whether a process showed the secret while the caller, who must be among them, was at the gate."""
    assert any(line.split(" ")[0].endswith("curl") and ADDRESS in line for line in gate.command_lines)
    return any(secret in line for line in gate.command_lines)


@needs_curl
@needs_proc
@pytest.mark.parametrize("make_call", CALLS)
async def test_a_caller_starts_a_run_and_shows_nobody_the_secret(
    make_call: Any, dsn: str, secret: str, tmp_path: Path
) -> None:
    async with live_server(dsn, CRON_SECRET=secret) as server, Gate(server.url).open() as gate:
        await run(make_call(gate.url, secret, tmp_path))
        async with server.client() as client:
            heartbeat = await client.get("/readyz/jobs")

    assert gate.requests[0].startswith(f"POST {ADDRESS} HTTP/1.1\r\n")
    assert heartbeat.status_code == 200, heartbeat.text
    assert not shown(gate, secret)


@needs_curl
@needs_proc
async def test_a_secret_on_a_command_line_would_be_seen(dsn: str, secret: str, tmp_path: Path) -> None:
    async with live_server(dsn, CRON_SECRET=secret) as server, Gate(server.url).open() as gate:
        await run(careless_call(gate.url, secret, tmp_path))

    assert shown(gate, secret)


@needs_curl
@pytest.mark.parametrize("make_call", CALLS)
async def test_a_caller_with_a_wrong_secret_fails_loudly(make_call: Any, dsn: str, tmp_path: Path) -> None:
    async with live_server(dsn) as server:
        with pytest.raises(AssertionError, match="401"):
            await run(make_call(server.url, "a-wrong-secret-of-ours", tmp_path))


@pytest.mark.parametrize("recipe_in", ["crontab", "holdfast-jobs.service"])
def test_the_file_with_the_header_is_its_owners_alone(recipe_in: str, secret: str, tmp_path: Path) -> None:
    made = header_file(recipe_in, tmp_path, secret)

    assert made.stat().st_mode & 0o777 == 0o600
    assert made.read_text() == f"Authorization: Bearer {secret}\n"


@pytest.mark.parametrize("path", OVER_HTTP, ids=lambda path: path.name)
def test_a_caller_over_http_names_address_header_and_secret(path: Path) -> None:
    text = path.read_text()

    assert ADDRESS in text
    assert "Authorization" in text
    assert "Bearer" in text
    assert "CRON_SECRET" in text


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_holds_a_secret(path: Path) -> None:
    text = path.read_text()

    assert not AFTER_BEARER.search(text)
    assert not re.search(r"\bhf_\w|\b(?=\w*\d)(?=\w*[a-z])\w{32,}", text)


def test_what_follows_bearer_is_looked_at() -> None:
    assert AFTER_BEARER.search("-H 'Authorization: Bearer 0123456789abcdef'")


@pytest.mark.parametrize("path", OVER_HTTP, ids=lambda path: path.name)
def test_a_caller_waits_longer_than_a_run_takes(path: Path) -> None:
    limits = re.findall(
        r"--max-time (\d+)|timeout_milliseconds => (\d+)000|Timeout \| `(\d+)` seconds", path.read_text()
    )

    assert limits
    assert all(int(seconds) > ANSWER_LIMIT for found in limits for seconds in found if seconds)


def test_the_crontab_has_one_entry_of_the_shape_cron_reads() -> None:
    variables, entries = variables_and_entries()

    assert variables.keys() == {"HOLDFAST_URL", "HEADER_FILE"}
    (entry,) = entries
    assert entry.split()[:5] == ["*"] * 5
    # cron makes a line break of it
    assert "%" not in entry


def test_the_units_fit_together() -> None:
    service, timer = unit("holdfast-jobs.service"), unit("holdfast-jobs.timer")

    # a timer starts the service of its own name
    assert timer["Timer"]["OnCalendar"] == "*-*-* *:*:00"
    assert timer["Install"]["WantedBy"] == "timers.target"
    assert service["Service"]["Type"] == "oneshot"
    assert service["Service"]["LoadCredential"].split(":") == ["header", "/etc/holdfast/cron-header"]
    assert "EnvironmentFile" not in service["Service"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on PATH")
def test_systemd_finds_no_fault_with_the_units() -> None:
    units = [str(CRON / f"holdfast-jobs.{kind}") for kind in ("service", "timer")]

    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_the_cron_job_of_kubernetes_ends_and_may_do_nothing_else() -> None:
    spec = document("kubernetes.yaml")["spec"]
    job = spec["jobTemplate"]["spec"]
    pod = job["template"]["spec"]

    assert (spec["schedule"], spec["concurrencyPolicy"]) == ("* * * * *", "Allow")
    assert ANSWER_LIMIT < int(job["activeDeadlineSeconds"]) < 60
    assert (pod["restartPolicy"], pod["automountServiceAccountToken"]) == ("Never", "false")
    assert pod["securityContext"]["runAsNonRoot"] == "true"
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": "false",
        "readOnlyRootFilesystem": "true",
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_cron_job_of_kubernetes_takes_the_secret_from_a_secret() -> None:
    environment = {entry["name"]: entry for entry in container()["env"]}

    assert environment["CRON_SECRET"]["valueFrom"]["secretKeyRef"]["key"] == "CRON_SECRET"
    assert "value" not in environment["CRON_SECRET"]


def test_the_workflow_of_github_comes_no_oftener_than_github_does() -> None:
    workflow = document("github-actions.yml")

    assert [entry["cron"] for entry in workflow["on"]["schedule"]] == ["3-58/5 * * * *"]
    assert workflow["permissions"] == {}
    assert workflow_step()["env"]["CRON_SECRET"].split() == ["${{", "secrets.CRON_SECRET", "}}"]
    # put into the script by GitHub itself, it would be in the script's text
    assert "${{" not in workflow_step()["run"]


async def test_vercel_gets_an_answer_as_it_calls(cron: httpx2.AsyncClient) -> None:
    (entry,) = json.loads((CRON / "vercel.json").read_text())["crons"]

    assert entry == {"path": ADDRESS, "schedule": "* * * * *"}
    assert (await cron.get(entry["path"])).status_code == 200


async def test_cron_job_org_gets_an_answer_as_it_is_set(cron: httpx2.AsyncClient) -> None:
    table = dict(re.findall(r"^\| \w+ \| ([^|]+) \| ([^|]+) \|$", (CRON / "cron-job.org.md").read_text(), re.MULTILINE))

    assert table["URL"] == f"`https://holdfast.example.com{ADDRESS}`"
    assert (await cron.request(table["Request method"].strip("`"), ADDRESS)).status_code == 200


# what only leaves jobs that pg_cron cannot do
LEFT_OUT = {"enqueue_idle_customers"}


def test_pg_cron_leaves_out_nothing_that_the_processor_does() -> None:
    called = set(re.findall(r"holdfast\.(\w+)\(", (CRON / "pg_cron.sql").read_text()))
    sweeps = set(re.findall(r"queries\.(\w+)\b", inspect.getsource(housekeeping)))

    assert called == sweeps - LEFT_OUT | {"record_job_run"}


def test_the_readme_names_every_file() -> None:
    linked = set(re.findall(r"\]\(([^)/#]+)\)", (CRON / "README.md").read_text()))

    assert linked == {path.name for path in FILES} - {"README.md"}
