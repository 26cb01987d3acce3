"""A blob opens in its place as it was sealed, and any other octets are a BlobError."""

import hashlib
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.store.blobs import BlobError, BlobKind, seal, unseal

HEADER = struct.Struct("<4sBBHQ")


def forge(*, kind: int = BlobKind.LIST, key: bytes = b"k", length: int, stream: bytes, version: int = 1) -> bytes:
    """A blob with a right checksum whose inside is as told."""
    header = HEADER.pack(b"TPRB", version, kind, len(key), length)
    return header + hashlib.sha256(header + key + stream).digest() + key + stream


@given(st.sampled_from(BlobKind), st.binary(max_size=40), st.binary(max_size=2000))
def test_what_was_sealed_comes_out(kind: BlobKind, key: bytes, content: bytes) -> None:
    assert unseal(kind, key, seal(kind, key, content)) == content


@given(st.binary(max_size=300), st.integers(min_value=0), st.integers(1, 255))
def test_a_changed_octet_is_noticed(content: bytes, position: int, change: int) -> None:
    sealed = bytearray(seal(BlobKind.LIST, b"key", content))
    sealed[position % len(sealed)] ^= change
    with pytest.raises(BlobError):
        unseal(BlobKind.LIST, b"key", bytes(sealed))


@given(st.binary(max_size=300), st.integers(min_value=0))
def test_a_cut_blob_is_noticed(content: bytes, position: int) -> None:
    sealed = seal(BlobKind.LIST, b"key", content)
    with pytest.raises(BlobError):
        unseal(BlobKind.LIST, b"key", sealed[: position % len(sealed)])


@given(st.binary(max_size=200))
def test_garbage_is_no_blob(octets: bytes) -> None:
    with pytest.raises(BlobError):
        unseal(BlobKind.LIST, b"key", octets)


def test_a_blob_in_another_place_is_noticed() -> None:
    sealed = seal(BlobKind.LIST, b"content/1", b"names")
    with pytest.raises(BlobError, match="another blob's place"):
        unseal(BlobKind.LIST, b"content/2", sealed)
    with pytest.raises(BlobError, match="another blob's place"):
        unseal(BlobKind.RECORDS, b"content/1", sealed)


def test_a_newer_format_is_named() -> None:
    with pytest.raises(BlobError, match="format 3, known are 1 and 2"):
        unseal(BlobKind.LIST, b"k", forge(length=0, stream=zlib.compress(b""), version=3))


def test_what_was_compressed_opens_whatever_is_written_now() -> None:
    for kind in BlobKind:
        assert unseal(kind, b"k", forge(kind=kind, length=5, stream=zlib.compress(b"names"))) == b"names"
        assert unseal(kind, b"k", forge(kind=kind, length=5, stream=b"names", version=2)) == b"names"
        assert unseal(kind, b"k", seal(kind, b"k", b"names")) == b"names"


@pytest.mark.parametrize("length", [2**63, 2**32 + 1, 6, 4])
def test_a_plain_content_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(BlobError, match="another length"):
        unseal(BlobKind.LIST, b"k", forge(length=length, stream=b"names", version=2))


@pytest.mark.parametrize("length", [2**63, 2**32 + 1, 10_000_000, 6, 4])
def test_a_wrong_length_allocates_nothing(length: int) -> None:
    with pytest.raises(BlobError):
        unseal(BlobKind.LIST, b"k", forge(length=length, stream=zlib.compress(b"names")))


def test_a_stream_that_expands_past_its_claim_is_cut_off() -> None:
    bomb = zlib.compress(bytes(50_000_000))
    with pytest.raises(BlobError, match="another length"):
        unseal(BlobKind.LIST, b"k", forge(length=100, stream=bomb))


def test_a_stream_with_something_behind_it_is_refused() -> None:
    with pytest.raises(BlobError, match="another length"):
        unseal(BlobKind.LIST, b"k", forge(length=5, stream=zlib.compress(b"names") + b"more"))


def test_a_stream_that_is_none_is_refused() -> None:
    with pytest.raises(BlobError, match="decompress"):
        unseal(BlobKind.LIST, b"k", forge(length=5, stream=b"no zlib stream"))
