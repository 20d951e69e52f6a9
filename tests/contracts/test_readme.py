"""The README's walk-through works as written, against the demo."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 60


class Demo(NamedTuple):
    url: str
    key: str
    story: str


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {"PORT": str(port), "DATABASE_URL": os.environ["TEST_DATABASE_URL"]}
    subprocess.run([sys.executable, "-m", "app.cli", "migrate"], cwd=ROOT, env=environment, check=True)
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "app.cli", "demo"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    story = ""
    for line in process.stdout:
        story += line
        if "Ctrl-C" in line:
            break
    key = re.search(r"admin key +(hf_\S+)", story)
    assert key, story
    yield Demo(f"http://127.0.0.1:{port}", key[1], story)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)


def bash_block(heading: str) -> str:
    section = (ROOT / "README.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    return section.split("```bash\n")[1].split("```")[0]


def test_the_demo_tells_what_it_did(demo: Demo) -> None:
    assert "5 booked, 45 were told slot_full" in demo.story
    assert "1 completed" in demo.story
    assert "booking.completed" in demo.story


def test_the_walk_through_works_as_written(demo: Demo) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", bash_block("Book something")],
        env=os.environ | {"URL": demo.url, "KEY": demo.key},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert said.count("HTTP/1.1 201") == 2
    assert "idempotent-replayed: true" in said
    assert '"code":"slot_full"' in said
    made, tried = re.findall(r'"dry_run" : (\w+), "created" : (\d+), .*?"removed" : (\d+)', said)
    assert made[0] == "false"
    assert int(made[1]) >= 60 * 9
    assert tried == ("true", "0", "3")
    assert "'remaining_bookings': 1" in said
    assert "booking.cancelled" in said
    assert '"reason":"rain"' in said


def test_the_ready_curl_line_books(demo: Demo) -> None:
    line = demo.story[demo.story.index("curl -i") :].split("\n\n")[0]

    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=PATIENCE, check=True)

    assert "201 Created" in done.stdout
