"""Every operation with every place of it made hostile: no internal error, and nothing the API did not promise."""

import base64
import hashlib
import hmac
import time
from collections.abc import Sequence
from itertools import islice
from urllib.parse import parse_qsl

import httpx2
import pytest

from tests.contracts.support import Operation, api_description, operations
from tests.hostile.conftest import SECRETS, Target
from tests.hostile.corpus import Call, Corpus
from tests.hostile.verdict import Judge

DOCUMENT = api_description()
JUDGE = Judge(DOCUMENT)
# a stream has no end; its page takes the same
OPERATIONS = {
    each.spec["operationId"] + each.method: each for each in operations(DOCUMENT) if each.path != "/v1/events"
}
# of each place, every thirteenth value: no table's length is a multiple, so each comes somewhere; soaks take all
STEP = 13


async def send(client: httpx2.AsyncClient, call: Call, authorization: Sequence[bytes] = ()) -> httpx2.Response:
    """The answer to the call, bytes that are no text included; by the client's own authorization, or by these."""
    headers = [(name.encode(), value.encode("utf-8", "surrogatepass")) for name, value in call.headers.items()]
    headers += [(b"authorization", each) for each in authorization] + signature(call)
    return await client.request(call.operation.method.upper(), call.url, headers=headers, content=call.body)


def signature(call: Call) -> list[tuple[bytes, bytes]]:
    """What opens the doors of Stripe and of the provider of SMS, who sign instead of bringing a token."""
    if call.operation.path == "/v1/payment-events/stripe":
        now, secret = str(int(time.time())), SECRETS["stripe_webhook_secret"].encode()
        signed = hmac.new(secret, now.encode() + b"." + call.body, hashlib.sha256).hexdigest()
        return [(b"Stripe-Signature", f"t={now},v1={signed}".encode())]
    if call.operation.path == "/v1/sms-inbound":
        form = parse_qsl(call.body.decode(), keep_blank_values=True)
        text = SECRETS["sms_inbound_url"] + "".join(name + value for name, value in sorted(form))
        mac = hmac.digest(SECRETS["sms_token"].encode(), text.encode("utf-8", "replace"), hashlib.sha1)
        return [(b"X-Twilio-Signature", base64.b64encode(mac))]
    return []


async def faults_of(client: httpx2.AsyncClient, corpus: Corpus, operation: Operation, step: int = 1) -> list[str]:
    """What was wrong with which answer, to each of so many calls."""
    found = []
    for call in islice(corpus.calls(operation), 0, None, step):
        answer = await send(client, call)
        found += [f"{call.what}: {fault}: {answer.text[:300]}" for fault in JUDGE.faults(operation, answer)]
    return found


@pytest.mark.parametrize("name", sorted(OPERATIONS))
async def test_no_hostile_value_gets_an_answer_that_was_not_promised(target: Target, name: str) -> None:
    assert not await faults_of(target.client, Corpus(DOCUMENT, target.known), OPERATIONS[name], STEP)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
async def test_what_is_made_hostile_is_valid_before(target: Target, name: str) -> None:
    answer = await send(target.client, Corpus(DOCUMENT, target.known).valid(OPERATIONS[name]))

    # 503: nobody has done what is due, which is what /readyz/jobs is for
    assert answer.status_code in {200, 201, 202, 204, 404, 409, 412} or name == "jobs_readinessget", answer.text
