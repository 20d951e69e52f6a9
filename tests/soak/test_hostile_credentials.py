"""Tens of thousands of credentials that are none, sent to every operation: none opens, and none breaks anything."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice

import jwt
import pytest

from app.rate_limits import MAX_FAILURES
from tests.api.matrix import ANYONE, opened_by
from tests.api.test_fuzz import PRINCIPALS
from tests.conftest import CRON_SECRET
from tests.hostile.conftest import SECRETS, Target, target  # noqa: F401 - a fixture
from tests.hostile.corpus import SHORT, UNSENDABLE, Corpus
from tests.hostile.test_corpus import DOCUMENT, JUDGE, OPERATIONS, send

MUTANTS = 150
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
OPEN = {name for name, operation in OPERATIONS.items() if opened_by(operation) == ANYONE}
SIGNED = {name for name, operation in OPERATIONS.items() if "signature" in opened_by(operation)}


def mutants(good: str, chance: random.Random) -> Iterator[str]:
    """The token with one thing about it that is different: a character, a cut, or a piece that is doubled."""
    while True:
        at = chance.randrange(len(good) - 2)
        match chance.randrange(3):
            case 0:
                mutant = good[:at] + chance.choice(ALPHABET) + good[at + 1 :]
            case 1:
                mutant = good[:at]
            case _:
                mutant = good[:at] + good[at:] + good[at:]
        if mutant.strip() not in {"", good}:
            yield mutant


def headers_of(good: dict[str, str], chance: random.Random) -> Iterator[list[bytes]]:
    """Authorization headers that open nothing, more than one at a time among them."""
    for text in SHORT:
        sent = text.translate(UNSENDABLE).encode("utf-8", "surrogatepass")
        yield [sent]
        yield [b"Bearer " + sent]
        # who sends two is whom the first says
        yield [b"Bearer " + sent, b"Bearer " + good["key"].encode()]
    for token in good.values():
        yield [b"Basic " + token.encode()]
        yield [b"Bearer" + token.encode()]
        yield [token.encode()]
        for mutant in islice(mutants(token, chance), MUTANTS):
            yield [b"Bearer " + mutant.encode()]


CLOSED = sorted(OPERATIONS.keys() - OPEN - SIGNED)


def test_with_the_corpus_these_are_more_than_a_hundred_thousand_requests() -> None:
    corpus = Corpus(DOCUMENT, {"slot_id": "word", "resource_id": "word"})
    tokens = dict.fromkeys(("key", "customer", "cron secret"), "a.token.like")
    of_the_corpus = sum(1 for operation in OPERATIONS.values() for _ in corpus.calls(operation)) * len(PRINCIPALS)
    of_these = sum(1 for _ in headers_of(tokens, random.Random(0))) * len(CLOSED)  # noqa: S311 - a number is asked for

    assert of_the_corpus + of_these > 100_000


@pytest.mark.parametrize("name", CLOSED)
async def test_no_credential_that_is_none_opens_anything(
    target: Target,  # noqa: F811
    name: str,
) -> None:
    chance = random.Random(name)  # noqa: S311 - a repeatable choice
    operation, call = OPERATIONS[name], Corpus(DOCUMENT, target.known).valid(OPERATIONS[name])
    good = {
        "key": target.client.headers["Authorization"].removeprefix("Bearer "),
        "customer": jwt.encode({"sub": "ann", "exp": int(time.time()) + 3600}, SECRETS["jwt_secret"], "HS256"),
        "cron secret": CRON_SECRET,
    }
    before = await target.conn.fetchval("SELECT max(id) FROM audit_log")
    answered: Counter[int] = Counter()
    faults = []

    for authorization in headers_of(good, chance):
        answer = await send(target.client, call, authorization)
        answered[answer.status_code] += 1
        faults += [f"{authorization}: {fault}" for fault in JUDGE.faults(operation, answer)]

    assert faults == []
    # whoever guesses is told off
    assert answered.keys() <= {401, 429}
    assert answered[429] > answered[401] > MAX_FAILURES / 2
    assert await target.conn.fetchval("SELECT max(id) FROM audit_log") == before
