"""The keystore file: read again when it changed, and what lies there now told from what was good before."""

import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tapir.codec.jose import KeyDocumentError
from tapir.codec.jose.base64url import encode_base64url
from tapir.store import keystore
from tapir.store.errors import StoreError
from tapir.store.keystore import KeystoreFile


def document(*kids: str) -> bytes:
    keys = [
        {
            "kty": "OKP",
            "crv": "Ed25519",
            "kid": kid,
            "x": encode_base64url(Ed25519PrivateKey.generate().public_key().public_bytes_raw()).decode(),
        }
        for kid in kids
    ]
    return json.dumps({"keys": keys}).encode()


def test_a_file_that_stays_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keystore, "_YOUNG", 0)
    path = tmp_path / "keys.json"
    path.write_bytes(document("one"))
    file = KeystoreFile(path)
    assert file.latest is None
    first = file.current()
    assert [key.kid for key in first] == ["one"]
    monkeypatch.setattr(keystore, "_read", lambda _: pytest.fail("read again"))
    assert file.current() is first
    assert file.latest is first


def test_a_young_file_is_read_again_and_its_keys_stay_the_same_object(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(document("one"))
    file = KeystoreFile(path)
    first = file.current()
    assert file.current() is first
    path.write_bytes(document("two"))
    assert [key.kid for key in file.current()] == ["two"]


def test_a_file_that_is_no_keystore_is_refused_until_it_is_one_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keystore, "_YOUNG", 0)
    path = tmp_path / "keys.json"
    path.write_bytes(document("one"))
    file = KeystoreFile(path)
    first = file.current()
    path.write_bytes(b'{"keys":[')
    for _ in range(2):
        with pytest.raises(KeyDocumentError, match=r"keys\.json cannot be used"):
            file.current()
    assert file.latest is first
    path.unlink()
    with pytest.raises(StoreError, match="No such file"):
        file.current()
    path.write_bytes(document("one", "two"))
    assert len(file.current()) == 2


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, make: object) -> None:
    path = tmp_path / "keys.json"
    make(path)  # type: ignore[operator]
    with pytest.raises(StoreError, match="no regular file"):
        KeystoreFile(path).current()
