"""All of tests/hostile's corpus by everybody who may call, and a hundred times what tests/api/test_fuzz.py makes up."""

import time
from typing import Any

import hypothesis
import jwt
import pytest
import schemathesis

from tests.api.test_fuzz import PRINCIPALS, schema, try_out
from tests.api.test_fuzz import Target as Server
from tests.api.test_fuzz import target as server  # noqa: F401 - a fixture
from tests.factories import make_api_key
from tests.hostile.conftest import SECRETS, Target, target  # noqa: F401 - a fixture
from tests.hostile.corpus import Corpus
from tests.hostile.test_corpus import DOCUMENT, OPERATIONS, faults_of


@pytest.mark.parametrize("principal", PRINCIPALS)
@pytest.mark.parametrize("name", sorted(OPERATIONS))
async def test_no_hostile_value_gets_an_answer_that_was_not_promised_whoever_sends_it(
    target: Target,  # noqa: F811
    name: str,
    principal: str,
) -> None:
    if principal == "customer":
        token = jwt.encode({"sub": "ann", "exp": int(time.time()) + 3600}, SECRETS["jwt_secret"], "HS256")
    else:
        token = await make_api_key(target.conn, "admin" if principal == "admin" else "frontend")
    target.client.headers["Authorization"] = f"Bearer {token}"

    assert not await faults_of(target.client, Corpus(DOCUMENT, target.known), OPERATIONS[name])


@schema.parametrize()
@hypothesis.settings(max_examples=200, deadline=None)
def test_nothing_made_up_at_random_breaks_the_server_or_the_description(
    server: Server,  # noqa: F811
    case: schemathesis.Case[Any],
) -> None:
    for principal in PRINCIPALS:
        try_out(server, principal, case)
