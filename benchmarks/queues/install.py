"""The peers, from their registries into a cache folder: a venv that brings its own Node, and beside it node_modules."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.server import ROOT

SOURCE = Path(__file__).parent / "peers"
CACHE = ROOT / ".cache" / "benchmarks"
PEERS = CACHE / "peers"
VENV = CACHE / "venv"
BIN = VENV / "bin"
MARK = ".installed"
PATIENCE = 600


def install_peers(progress: Console) -> tuple[bool, bool]:
    """Whether the Python peers are there, and whether those on Node are. What is there already is left as it is."""
    shutil.copytree(SOURCE, PEERS, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    python = _install(
        progress,
        VENV,
        SOURCE / "requirements.txt",
        [sys.executable, "-m", "venv", "--clear", VENV],
        [BIN / "pip", "install", "--disable-pip-version-check", "--require-hashes", "-r", SOURCE / "requirements.txt"],
    )
    node = python and _install(
        progress,
        PEERS / "node_modules",
        SOURCE / "package-lock.json",
        [BIN / "npm", "ci", "--prefix", PEERS, "--ignore-scripts", "--no-audit", "--no-fund"],
    )
    return python, node


def _install(progress: Console, folder: Path, lock: Path, *commands: Sequence[str | Path]) -> bool:
    mark, wanted = folder / MARK, hashlib.sha256(lock.read_bytes()).hexdigest()
    if mark.exists() and mark.read_text() == wanted:
        return True
    progress.print(f"installing the peers of {lock.name}")
    try:
        for command in commands:
            subprocess.run(
                command,
                # npm looks for the Node that runs it
                env={**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"},
                capture_output=True,
                text=True,
                check=True,
                timeout=PATIENCE,
            )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        progress.print(f"the peers of {lock.name} are not installed:\n{said[-1000:]}", markup=False)
        return False
    mark.write_text(wanted)
    return True
