"""Sealed blobs: compressed, checksummed, and bound to the place they belong to.

A database file can be damaged in ways that SQLite does not notice, since its pages carry no checksum. So
everything that we store is a sealed blob: a flipped bit anywhere in it, or a blob that turns up in another
blob's place, is found when it is opened. The layout, little-endian:

    magic "TPRB"  version u8  kind u8  key length u16  content length u64  SHA-256 (32)  key  content

The digest covers everything but itself. The content is a zlib stream in version 1, which is read and no longer
written, and as it is in version 2: compressing takes ten times as long as the digest, and somebody waits for it.
"""

import enum
import hashlib
import struct
import zlib
from typing import Final

from tapir.codec.columns import concatenated

_MAGIC: Final = b"TPRB"
_COMPRESSED: Final = 1
_PLAIN: Final = 2
_HEADER: Final = struct.Struct("<4sBBHQ")
_DIGEST: Final = 32
# No deflate stream expands by more than this (zlib's own bound), so a longer claim is a lie that is found
# before memory is spent on it.
_MAX_RATIO: Final = 1032
MAX_CONTENT: Final = 4 * 1024**3


class BlobError(ValueError):
    """The octets are not a blob that was sealed for this place."""


class BlobKind(enum.IntEnum):
    """What a blob holds; the values are on disk."""

    STATE = 1
    RECORDS = 2
    VERSION_DELTA = 3
    LIST = 4
    LIST_CHANGE = 5
    OVERRIDES = 6
    OVERRIDE_CHANGE = 7
    REMEMBERED = 8
    REMEMBERED_STEPS = 9
    PASSED = 10


def seal(kind: BlobKind, key: bytes, content: bytes) -> bytes:
    """`content` as a blob that `unseal` opens under the same `kind` and `key`."""
    return concatenated(sealed_parts(kind, key, content))


def sealed_parts(kind: BlobKind, key: bytes, content: bytes) -> tuple[bytes, bytes]:
    """The same blob in two parts, so that one who writes it piece by piece need not have it in a row."""
    if len(content) > MAX_CONTENT:
        raise ValueError(f"a blob holds at most {MAX_CONTENT} octets, not {len(content)}")
    header = _HEADER.pack(_MAGIC, _PLAIN, kind, len(key), len(content))
    return b"".join((header, _digest(header, key, content), key)), content


def unseal(kind: BlobKind, key: bytes, sealed: bytes) -> bytes:
    """The content of a blob that was sealed for `kind` and `key`. Raises BlobError for anything else."""
    if len(sealed) < _HEADER.size + _DIGEST:
        raise BlobError("a blob is cut short")
    header = sealed[: _HEADER.size]
    body = memoryview(sealed)[_HEADER.size + _DIGEST :]
    magic, version, stored_kind, key_length, length = _HEADER.unpack(header)
    if magic != _MAGIC:
        raise BlobError("a blob does not begin like one")
    if sealed[_HEADER.size : _HEADER.size + _DIGEST] != _digest(header, body):
        raise BlobError("a blob's checksum is wrong")
    if version not in (_COMPRESSED, _PLAIN):
        raise BlobError(f"a blob has format {version}, known are {_COMPRESSED} and {_PLAIN}")
    if stored_kind != kind or body[:key_length] != key:
        raise BlobError("a blob is in another blob's place")
    if version == _COMPRESSED:
        return _inflate(body[key_length:], length)
    if len(body) - key_length != length:
        raise BlobError("a blob has another length than it claims")
    return concatenated([body[key_length:]])


def _digest(*parts: bytes | memoryview) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


def _inflate(stream: memoryview, length: int) -> bytes:
    if length > MAX_CONTENT or length > len(stream) * _MAX_RATIO:
        raise BlobError(f"a blob claims {length} octets, more than it can hold")
    inflater = zlib.decompressobj()
    try:
        # One octet more than claimed, so that a longer stream is noticed; 0 would mean "no limit".
        content = inflater.decompress(stream, length + 1)
    except zlib.error as exc:
        raise BlobError(f"a blob does not decompress: {exc}") from exc
    if len(content) != length or not inflater.eof or inflater.unused_data:
        raise BlobError("a blob has another length than it claims")
    return content
