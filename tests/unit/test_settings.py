"""Settings: what the environment may say, and what it never gives away."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import HttpUrl, SecretStr, ValidationError

from app.doctor import examine
from app.settings import Settings, secrets_in

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


def test_networks_are_separated_by_commas_and_are_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = from_environment(monkeypatch, WEBHOOK_ALLOWED_NETWORKS="10.1.0.0/16, fd00:1::/32")

    assert [str(network) for network in settings.webhook_allowed_networks] == ["10.1.0.0/16", "fd00:1::/32"]
    with pytest.raises(ValidationError):
        from_environment(monkeypatch, WEBHOOK_ALLOWED_NETWORKS="10.1.0.1/16")


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


@pytest.mark.parametrize("name", ["CRON_SECRET", "JWT_SECRET"])
def test_of_several_secrets_each_is_long_enough(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    settings = from_environment(monkeypatch, **{name: f"{'x' * 32}, {'y' * 32},"})
    assert secrets_in(getattr(settings, name.lower())) == ["x" * 32, "y" * 32]
    for short in (f"{'x' * 32},{'y' * 15}", ",", " , "):
        with pytest.raises(ValidationError, match=name.lower()):
            from_environment(monkeypatch, **{name: short})


def test_the_client_is_said_by_the_doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for proxies, said in (("", "whoever connects"), ("10.0.0.0/8, 192.0.2.1", "TRUSTED_PROXIES wrote it")):
        settings = from_environment(monkeypatch, TRUSTED_PROXIES=proxies, DATABASE_URL="postgresql://127.0.0.1:1/x")
        assert asyncio.run(examine(settings, embedded_server=False)) is False
        assert said in " ".join(capsys.readouterr().out.split())


def test_a_short_secret_for_customer_tokens_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert from_environment(monkeypatch, JWT_SECRET="x" * 32).jwt_secret is not None
    with pytest.raises(ValidationError, match="at least 32 characters"):
        from_environment(monkeypatch, JWT_SECRET="x" * 31)


@pytest.mark.parametrize(
    "url",
    [
        "https://id.example/.well-known/jwks.json",
        "https://id.example:8443/keys?tenant=7",
        "http://localhost:9000/keys",
        "http://127.0.0.1:9000/keys",
        "http://127.8.8.8/keys",
        "http://[::1]:9000/keys",
    ],
)
def test_keys_are_fetched_over_https_or_from_this_machine(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    assert str(from_environment(monkeypatch, JWKS_URL=url).jwks_url) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example/keys",
        "http://10.0.0.1/keys",
        "http://0.0.0.0/keys",
        "http://localhost.example/keys",
        "http://127.0.0.1.example/keys",
        "http://localhost@id.example/keys",
        "https://user:password@id.example/keys",
        "ftp://localhost/keys",
        "file:///etc/keys.json",
        "id.example/keys",
        "https://",
        "https://id.example:70000/keys",
    ],
)
def test_keys_are_fetched_from_nowhere_else(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    with pytest.raises(ValidationError, match="jwks_url"):
        from_environment(monkeypatch, JWKS_URL=url)


@pytest.mark.parametrize(
    ("variables", "takes"),
    [
        ({}, False),
        ({"JWT_AUDIENCE": "holdfast", "JWT_ISSUER": "https://id.example/"}, False),
        ({"JWT_SECRET": "x" * 32}, True),
        ({"JWKS_URL": "https://id.example/keys"}, True),
    ],
)
def test_a_secret_or_a_set_of_keys_turns_customer_tokens_on(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], takes: bool
) -> None:
    assert from_environment(monkeypatch, **variables).takes_customer_tokens is takes


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
        monkeypatch,
        DATABASE_URL=f"postgresql://u:{SECRET}@db.example/app",
        CRON_SECRET=f"{SECRET} of cron",
        JWT_SECRET=f"{SECRET} of the sign-in",
    )

    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


def test_a_refusal_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError) as refusal:
        from_environment(monkeypatch, CRON_SECRET=SECRET[:9], JWT_SECRET=SECRET[:9])

    assert SECRET[:9] not in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ["customer tokens are off", "nothing is wrong"]),
        ({"jwt_secret": SecretStr(SECRET)}, ["customer tokens are on", "nothing is wrong"]),
        ({"jwt_audience": "me"}, ["customer tokens are off", "JWT_AUDIENCE or JWT_ISSUER is set without JWT_SECRET"]),
        ({"jwks_url": HttpUrl("https://id.example/keys")}, ["customer tokens are on", "JWKS_URL is set without"]),
        (
            {"jwks_url": HttpUrl("https://id.example/keys"), "jwt_issuer": "https://id.example/"},
            ["customer tokens are on", "https://id.example/keys", "nothing is wrong"],
        ),
    ],
)
async def test_the_doctor_says_whether_customer_tokens_are_on_and_shows_no_secret(
    settings: Settings, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], said: list[str]
) -> None:
    is_well = await examine(settings.model_copy(update=changes), embedded_server=False)

    printed = " ".join(capsys.readouterr().out.split())
    assert all(sentence in printed for sentence in said), printed
    assert is_well == ("nothing is wrong" in said)
    assert SECRET not in printed


def test_a_file_named_env_is_read_and_the_environment_goes_before_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("PORT=1111\nHOST=0.0.0.0\nSOMETHING_ELSE=1\n")

    settings = from_environment(monkeypatch, PORT="2222")

    assert (settings.port, settings.host) == (2222, "0.0.0.0")  # noqa: S104
