"""Settings: what the environment may say, and what it never gives away."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import Settings

SECRET = "s3cret-of-the-database"  # noqa: S105


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def from_environment(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Settings()


@pytest.mark.parametrize(
    ("given", "dsn"),
    [
        ("postgres://u:p@db.example:5432/app", "postgresql://u:p@db.example:5432/app"),
        ("postgresql://u:p@db.example/app", "postgresql://u:p@db.example/app"),
        ("postgresql+asyncpg://u:p@db.example/app", "postgresql://u:p@db.example/app"),
        ("postgres+psycopg2://u:p@db.example/app", "postgresql://u:p@db.example/app"),
        ("postgresql://u@/app?host=/run/postgresql", "postgresql://u@/app?host=/run/postgresql"),
        ("postgresql://db.example/app?channel_binding=require", "postgresql://db.example/app"),
        (
            "postgresql://db.example/app?sslmode=require&channel_binding=require",
            "postgresql://db.example/app?sslmode=require",
        ),
        (
            "postgresql://db.example/app?channel_binding=require&sslmode=require",
            "postgresql://db.example/app?sslmode=require",
        ),
    ],
)
def test_every_common_spelling_of_a_database_url_is_read(monkeypatch: pytest.MonkeyPatch, given: str, dsn: str) -> None:
    assert from_environment(monkeypatch, DATABASE_URL=given).dsn == dsn


def test_without_a_database_url_there_is_nothing_to_connect_to(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="DATABASE_URL is not set"):
        _ = from_environment(monkeypatch).dsn


def test_an_empty_variable_is_an_absent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = from_environment(monkeypatch, DATABASE_URL="", PORT="", CRON_SECRET="")

    assert (settings.database_url, settings.port, settings.cron_secret) == (None, 8000, None)


@pytest.mark.parametrize("name", ["holdfast", "_x", "tenant_7", "a" * 63])
def test_a_plain_identifier_names_the_schema(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert from_environment(monkeypatch, DB_SCHEMA=name).db_schema == name


@pytest.mark.parametrize(
    "name", ["Holdfast", "7up", "a-b", "a b", 'a"b', "a;drop schema public", "pg_mine", "a" * 64, "a.b", "é", "a\n"]
)
def test_anything_else_does_not(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(ValidationError, match="db_schema"):
        from_environment(monkeypatch, DB_SCHEMA=name)


def test_a_short_cron_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert from_environment(monkeypatch, CRON_SECRET="x" * 16).cron_secret is not None
    with pytest.raises(ValidationError, match="at least 16 characters"):
        from_environment(monkeypatch, CRON_SECRET="x" * 15)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("PORT", "http"),
        ("DB_POOL_SIZE", "0"),
        ("DB_POOLER", "statement"),
        ("LOG_LEVEL", "chatty"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    with pytest.raises(ValidationError, match=name.lower()):
        from_environment(monkeypatch, **{name: value})


def test_what_is_printed_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = from_environment(
        monkeypatch, DATABASE_URL=f"postgresql://u:{SECRET}@db.example/app", CRON_SECRET=f"{SECRET} of cron"
    )

    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


def test_a_refusal_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError) as refusal:
        from_environment(monkeypatch, CRON_SECRET=SECRET[:9])

    assert SECRET[:9] not in str(refusal.value)


def test_a_file_named_env_is_read_and_the_environment_goes_before_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("PORT=1111\nHOST=0.0.0.0\nSOMETHING_ELSE=1\n")

    settings = from_environment(monkeypatch, PORT="2222")

    assert (settings.port, settings.host) == (2222, "0.0.0.0")  # noqa: S104
