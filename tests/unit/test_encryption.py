"""Encryption under named keys: what goes in comes out at its own place alone, and keys are never told."""

import base64
import traceback

import pytest
from pydantic import SecretStr, ValidationError

from app.encryption import AlteredError, EncryptionKeys, MissingKeyError, Sealed, new_encryption_key
from app.settings import Settings

FIRST, SECOND = "k1:" + base64.b64encode(b"1" * 32).decode(), "k2:" + base64.b64encode(b"2" * 32).decode()
PLACE = ("credentials", "gametime", "ann")


def test_what_was_encrypted_is_decrypted_at_its_place() -> None:
    keys = EncryptionKeys(FIRST)

    assert keys.decrypt(keys.encrypt(b"open sesame", *PLACE), *PLACE) == b"open sesame"


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    old = EncryptionKeys(FIRST).encrypt(b"old", *PLACE)
    both = EncryptionKeys(f"{SECOND},{FIRST}")

    new = both.encrypt(b"new", *PLACE)

    assert (old.key_id, new.key_id, both.ids) == ("k1", "k2", ["k2", "k1"])
    assert (both.decrypt(old, *PLACE), both.decrypt(new, *PLACE)) == (b"old", b"new")
    with pytest.raises(MissingKeyError, match="k2"):
        EncryptionKeys(FIRST).decrypt(new, *PLACE)


def test_the_same_plaintext_never_looks_the_same() -> None:
    keys = EncryptionKeys(FIRST)
    sealed = [keys.encrypt(b"open sesame", *PLACE) for _ in range(1000)]

    assert len({s.nonce for s in sealed}) == len({s.ciphertext for s in sealed}) == 1000


@pytest.mark.parametrize(
    "place",
    [
        ("credentials", "gametime", "bob"),
        ("credentials", "other", "ann"),
        ("tokens", "gametime", "ann"),
        ("credentials", "gametimeann", ""),
        ("credentials", "gametime"),
        ("credentials", 'gametime", "ann'),
    ],
)
def test_at_another_place_it_is_refused(place: tuple[str, ...]) -> None:
    keys = EncryptionKeys(FIRST)
    sealed = keys.encrypt(b"open sesame", *PLACE)

    with pytest.raises(AlteredError):
        keys.decrypt(sealed, *place)


def test_every_bit_that_changes_is_noticed() -> None:
    keys = EncryptionKeys(FIRST)
    sealed = keys.encrypt(b"open sesame", *PLACE)

    def with_bit_changed(value: bytes) -> list[bytes]:
        number = int.from_bytes(value)
        return [(number ^ 1 << bit).to_bytes(len(value)) for bit in range(len(value) * 8)]

    changed = [sealed._replace(nonce=nonce) for nonce in with_bit_changed(sealed.nonce)]
    changed += [sealed._replace(ciphertext=ciphertext) for ciphertext in with_bit_changed(sealed.ciphertext)]
    for each in changed:
        with pytest.raises(AlteredError):
            keys.decrypt(each, *PLACE)


@pytest.mark.parametrize(
    "sealed", [Sealed("k1", b"", b""), Sealed("k1", b"n" * 12, b""), Sealed("k1", b"n", b"c" * 99)]
)
def test_what_is_no_ciphertext_is_noticed(sealed: Sealed) -> None:
    with pytest.raises(AlteredError):
        EncryptionKeys(FIRST).decrypt(sealed, *PLACE)


def test_a_ciphertext_that_claims_another_key_of_the_same_bytes_is_refused() -> None:
    sealed = EncryptionKeys(FIRST).encrypt(b"open sesame", *PLACE)
    renamed = EncryptionKeys(FIRST.replace("k1", "k9"))

    with pytest.raises(AlteredError):
        renamed.decrypt(sealed._replace(key_id="k9"), *PLACE)


def test_a_new_key_can_be_used_and_is_like_no_other() -> None:
    keys = {new_encryption_key() for _ in range(100)}

    assert len(EncryptionKeys(",".join(keys)).ids) == len(keys) == 100


BODY = SECOND.partition(":")[2]
BAD = {
    "no id": BODY,
    "an empty id": f":{BODY}",
    "an id in capitals": f"K2:{BODY}",
    "a long id": f"{'k' * 33}:{BODY}",
    "a short key": "k2:" + base64.b64encode(b"2" * 31).decode(),
    "a long key": "k2:" + base64.b64encode(b"2" * 33).decode(),
    "no key": "k2:",
    "no base64": f"k2:{BODY[:-4]}!!!=",
    "letters beyond ASCII": f"k2:{BODY[:-2]}é=",
    "the id of another": f"k1:{BODY}",
    "the same key again": f"k2:{FIRST.partition(':')[2]}",
    "an empty part": "",
}


@pytest.mark.parametrize("part", BAD.values(), ids=BAD.keys())
def test_keys_that_cannot_be_used_are_refused_at_the_start_without_being_told(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENCRYPTION_KEYS", f"{FIRST},{part}")

    with pytest.raises(ValidationError, match="key 2 ") as refused:
        Settings(_env_file=None)

    told = "".join(traceback.format_exception(refused.value)) + repr([e["msg"] for e in refused.value.errors()])
    assert FIRST.partition(":")[2] not in told
    assert len(part) < 10 or part not in told
    assert BODY[:-4] not in told


def test_nothing_shows_the_keys() -> None:
    settings = Settings(_env_file=None, encryption_keys=SecretStr(FIRST))
    keys = settings.keys_of_credentials

    assert keys is not None
    assert FIRST.partition(":")[2] not in f"{settings!r} {settings} {keys!r} {vars(keys)}"
    assert str(b"1" * 32) not in f"{keys!r} {vars(keys)}"


def test_without_keys_there_are_none() -> None:
    assert Settings(_env_file=None).keys_of_credentials is None
