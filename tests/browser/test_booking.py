"""What becomes of an order at a site that has only a web form."""

import asyncio

from app.adapters.adapter import Answer, Credentials, Order
from tests.browser.conftest import CANARY, CREDENTIALS, ORDER, MakeAdapter, settings_for
from tests.browser.site import Site, cutting

NOBODY = Credentials({"user": "mia", "password": "wrong"})


async def at_once() -> None:
    """An instant that has come."""


async def test_an_order_is_booked_with_one_submission(site: Site, adapter_for: MakeAdapter) -> None:
    answer = await adapter_for(settings_for(site.url)).book(ORDER, CREDENTIALS, at_once)

    assert answer == Answer("booked", confirmation="R0001")
    assert [(one["class"], one["day"], one["name"]) for one in site.submissions] == [
        ("Yoga 1", "Tuesday", "Mia Sander")
    ]


async def test_nothing_is_sent_before_the_instant(site: Site, adapter_for: MakeAdapter) -> None:
    ready, instant = asyncio.Event(), asyncio.Event()

    async def fire() -> None:
        ready.set()
        await instant.wait()

    booking = asyncio.create_task(adapter_for(settings_for(site.url)).book(ORDER, CREDENTIALS, fire))
    await ready.wait()
    seen_at_the_instant = dict(site.requests)
    instant.set()

    assert (await booking).finding == "booked"
    assert "GET /classes/Yoga 1" in seen_at_the_instant
    assert "POST /book" not in seen_at_the_instant


async def test_the_form_is_sent_with_its_key_where_the_site_takes_one(site: Site, adapter_for: MakeAdapter) -> None:
    adapter = adapter_for(settings_for(site.url, idempotency_field="#book input[name=key]"))

    await adapter.book(ORDER, CREDENTIALS, at_once)

    assert adapter.honours_idempotency_key
    assert [one["key"] for one in site.submissions] == ["key-1"]


async def test_a_full_class_is_full(site: Site, adapter_for: MakeAdapter) -> None:
    site.capacity = 0

    assert (await adapter_for(settings_for(site.url)).book(ORDER, CREDENTIALS, at_once)).finding == "full"
    assert len(site.submissions) == 1


async def test_a_form_sent_too_early_is_not_open_yet(site: Site, adapter_for: MakeAdapter) -> None:
    site.is_open = False

    assert (await adapter_for(settings_for(site.url)).book(ORDER, CREDENTIALS, at_once)).finding == "not_open_yet"


async def test_a_page_without_a_form_is_not_open_yet_and_nothing_is_sent(site: Site, adapter_for: MakeAdapter) -> None:
    site.is_open, site.hides_form = False, True
    fired = asyncio.Event()

    async def fire() -> None:
        fired.set()

    assert (await adapter_for(settings_for(site.url)).book(ORDER, CREDENTIALS, fire)).finding == "not_open_yet"
    assert not fired.is_set()
    assert site.submissions == []


async def test_a_form_that_appears_at_the_instant_is_loaded_then(site: Site, adapter_for: MakeAdapter) -> None:
    site.is_open, site.hides_form = False, True

    async def fire() -> None:
        site.is_open = True

    answer = await adapter_for(settings_for(site.url, reload_at_instant=True)).book(ORDER, CREDENTIALS, fire)

    assert answer.finding == "booked"
    assert len(site.submissions) == 1


async def test_a_wrong_password_is_bad_credentials(site: Site, adapter_for: MakeAdapter) -> None:
    adapter = adapter_for(settings_for(site.url))

    assert (await adapter.check_credentials(NOBODY)).finding == "bad_credentials"
    assert (await adapter.book(ORDER, NOBODY, at_once)).finding == "bad_credentials"
    assert (await adapter.check_credentials(CREDENTIALS)).finding == "valid"
    assert site.submissions == []


async def test_one_visit_leaves_no_session_to_the_next(site: Site, adapter_for: MakeAdapter) -> None:
    adapter = adapter_for(settings_for(site.url))

    await adapter.check_credentials(CREDENTIALS)
    await adapter.check_credentials(CREDENTIALS)

    assert len(site.sessions) == 2


async def test_a_lookup_finds_what_was_booked_and_nothing_else(site: Site, adapter_for: MakeAdapter) -> None:
    adapter = adapter_for(settings_for(site.url))
    site.bookings = [("Yoga 12", "R0001"), ("Yoga 1", "R0002")]

    assert await adapter.lookup(ORDER, CREDENTIALS) == Answer("booked", confirmation="R0002")
    assert await adapter.lookup(Order({"class": "Yoga 2"}, "key-2"), CREDENTIALS) == Answer("absent")


async def test_without_a_page_to_look_up_the_answer_is_unknown(site: Site, adapter_for: MakeAdapter) -> None:
    settings = {key: value for key, value in settings_for(site.url).items() if key != "lookup"}

    assert (await adapter_for(settings).lookup(ORDER, CREDENTIALS)).finding == "unknown"


async def test_a_page_that_does_not_answer_the_click_is_unknown(site: Site, adapter_for: MakeAdapter) -> None:
    site.after_submit = "hang"

    answer = await adapter_for(settings_for(site.url) | {"outcome_seconds": 4.0}).book(ORDER, CREDENTIALS, at_once)

    assert answer.finding == "unknown"
    assert len(site.submissions) == 1


async def test_a_connection_that_breaks_after_the_click_is_unknown_and_not_tried_again(
    adapter_for: MakeAdapter,
) -> None:
    async with cutting() as (url, asked):
        settings = settings_for(url, path="/", fields={}, submit="button")
        settings["login"] |= {"fields": {"input": "{credentials.user}"}}
        answer = await adapter_for(settings).book(ORDER, CREDENTIALS, at_once)

    assert answer.finding == "unknown"
    assert asked.count("POST /book") == 1


async def test_a_site_that_is_not_there_is_unavailable(adapter_for: MakeAdapter) -> None:
    server = await asyncio.start_server(lambda _, __: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    adapter = adapter_for(settings_for(f"http://127.0.0.1:{port}"))

    assert (await adapter.book(ORDER, CREDENTIALS, at_once)).finding == "unavailable"
    assert await adapter.clock() is None


async def test_an_order_without_a_value_of_the_form_is_refused(site: Site, adapter_for: MakeAdapter) -> None:
    answer = await adapter_for(settings_for(site.url)).book(Order({"class": "Yoga 1"}, "key"), CREDENTIALS, at_once)

    assert answer == Answer("refused", detail="there is no target.day")
    assert site.submissions == []


async def test_credentials_without_a_field_of_the_login_are_bad(site: Site, adapter_for: MakeAdapter) -> None:
    answer = await adapter_for(settings_for(site.url)).check_credentials(Credentials({"user": CANARY}))

    assert answer == Answer("bad_credentials", detail="there is no credentials.password")


async def test_a_form_without_its_token_is_refused_by_the_site(site: Site, adapter_for: MakeAdapter) -> None:
    site.form_extra = "<script>addEventListener('load', () => { document.forms.book.csrf.value = 'forged' })</script>"

    assert (await adapter_for(settings_for(site.url)).book(ORDER, CREDENTIALS, at_once)).finding == "refused"
    assert site.bookings == []


async def test_the_clock_of_this_machine_is_ours(site: Site, adapter_for: MakeAdapter) -> None:
    clock = await adapter_for(settings_for(site.url)).clock()

    assert clock is not None
    # the header says whole seconds and may lag; on a busy machine by seconds, but never by minutes
    assert -30 <= clock.low <= 0.2
    assert clock.low < clock.high <= 1.2
