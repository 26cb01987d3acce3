"""The running interval as octets that a crash leaves behind, so that it can be counted again.

    magic (8) | salt (16) | records: length u32 | AES-256-GCM of the record, its number for a nonce

The first record says when the interval began and how its clients are counted; each of the others is a block's counted
responses, with the names that the interval met there: the list that was in use, which may be gone, is not needed.
Hashes of clients' addresses tell the addresses to anyone who tries them all. So nothing of this can be read without
the key, which is not beside it, and each file has a key of its own, made of that and its salt. What does not open,
such as a record that was being written, ends what is read. Numbers are little-endian.

Sessions have spools of their own, one for each file that they become, with another magic; a record is the rows of a
block, pseudonyms and all.
"""

import struct
from collections.abc import Iterator
from typing import Final

import attrs
import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

import tapir.kernels.labels
from tapir.codec.columns import Buffer
from tapir.minimiser.histogram import Counted, Histogram
from tapir.minimiser.sessions import Sessions
from tapir.minimiser.wellknown import WellKnownNames
from tapir.model.errors import TapirError

SALT_SIZE: Final = 16
_MAGIC: Final = b"TPSPOOL1"
_MAGIC_OF_SESSIONS: Final = b"TPSPOOLS"
_PURPOSE: Final = b"tapir edm spool"
_LENGTH: Final = struct.Struct("<I")
_BEGIN: Final = struct.Struct("<qI")
_COUNTS: Final = struct.Struct("<3I")

# A response's kind in one octet: what its type and class, its RCODE and its client's family count as.
_TYPES: Final = np.array([1, 28, 15, 2, 0, 1], np.uint16)
_CLASSES: Final = np.array([1, 1, 1, 1, 1, 3], np.uint16)
_RCODES: Final = np.array([0, 3, 2, 5], np.uint16)
_FAMILIES: Final = np.array([0, 4, 6], np.uint8)


class SpoolError(TapirError):
    """The octets are no spool, or not one of this key; the text says which."""


class SpoolWriter:
    """Makes the octets of one interval's spool."""

    def __init__(self, *, key: bytes, salt: bytes, start: int, threshold: int = 0, sessions: bool = False) -> None:
        """`key` is secret, `salt` SALT_SIZE random octets; the others are as of the interval's Histogram.

        With `sessions` it is one of sessions, whose records are made by `record_sessions`.
        """
        self._cipher = _cipher(key, salt)
        self._records = 0
        self.begin = (_MAGIC_OF_SESSIONS if sessions else _MAGIC) + salt + self._sealed(_BEGIN.pack(start, threshold))
        """what the file begins with"""

    def __repr__(self) -> str:
        return f"<SpoolWriter of {self._records} records>"

    def record(self, counted: Counted, names: WellKnownNames) -> bytes:
        """What `counted` adds to the file: all that is made is to be written, in this order. `names` are its list."""
        fresh = counted.fresh
        starts = names.offsets[fresh]
        lengths = names.offsets[fresh + 1] - starts
        octets = np.empty(int(lengths.sum()), np.uint8)
        tapir.kernels.labels.gather(names.data.data, starts.data, lengths.data, octets.data, 0)
        parts = (
            _COUNTS.pack(len(counted), len(fresh), len(octets)),
            counted.numbers.astype("<u4").tobytes(),
            counted.hashes.astype("<u8").tobytes(),
            _kinds(counted).tobytes(),
            names.kinds[fresh].tobytes(),
            lengths.astype(np.uint8).tobytes(),
            octets.tobytes(),
        )
        return self._sealed(b"".join(parts))

    def record_sessions(self, packed: bytes) -> bytes:
        """What rows of sessions, as `Sessions.packed` gives them, add to the file."""
        return self._sealed(packed)

    def _sealed(self, record: bytes) -> bytes:
        sealed = self._cipher.encrypt(self._records.to_bytes(12, "little"), record, None)
        self._records += 1
        return _LENGTH.pack(len(sealed)) + sealed


@attrs.frozen(kw_only=True, eq=False, repr=False)
class _Record:
    """A block's counted responses, and the names that the interval met there."""

    numbers: NDArray[np.uint32]
    hashes: NDArray[np.uint64]
    kinds: NDArray[np.uint8]
    name_kinds: NDArray[np.uint8]
    name_lengths: NDArray[np.uint8]
    names: NDArray[np.uint8]

    @classmethod
    def of(cls, octets: bytes) -> "_Record":
        count, fresh, size = _COUNTS.unpack_from(octets)
        at = _COUNTS.size
        arrays = []
        for dtype, items in (("<u4", count), ("<u8", count), ("u1", count), ("u1", fresh), ("u1", fresh), ("u1", size)):
            arrays.append(np.frombuffer(octets, dtype, items, at))
            at += arrays[-1].nbytes
        numbers, hashes, kinds, name_kinds, name_lengths, names = arrays
        return cls(
            numbers=numbers,
            hashes=hashes,
            kinds=kinds,
            name_kinds=name_kinds,
            name_lengths=name_lengths,
            names=names,
        )


def replay(spool: Buffer, *, key: bytes, seed: bytes) -> Histogram:
    """The interval of a spool, as far as it was written; `seed` as for Histogram. Blocking.

    Raises SpoolError for what is no spool, is not of this key, or ends before it begins.
    """
    start, threshold = _begun(_opened(spool, key))
    # Twice over the file, for a histogram wants to know its names first: that is cheaper than to hold it all.
    names = _names_of(_records(spool, key), seed)
    histogram = Histogram(names, start=start, threshold=threshold, seed=seed)
    for record in _records(spool, key):
        kinds = record.kinds
        types = kinds & np.uint8(7)
        histogram.count(
            rows=record.numbers.astype(np.int32),
            qtypes=_TYPES[types],
            qclasses=_CLASSES[types],
            rcodes=_RCODES[kinds >> np.uint8(3) & np.uint8(3)],
            hashes=record.hashes.astype(np.uint64),
            families=_FAMILIES[kinds >> np.uint8(5)],
        )
    return histogram


def holds_sessions(spool: Buffer) -> bool:
    """Whether a spool is one of sessions, if it is one."""
    return bytes(memoryview(spool)[: len(_MAGIC)]) == _MAGIC_OF_SESSIONS


def replay_sessions(spool: Buffer, *, key: bytes) -> tuple[int, Sessions]:
    """When the interval of a spool of sessions began, and what was written of them. Blocking; raises as `replay`."""
    opened = _opened(spool, key)
    start, _ = _begun(opened)
    sessions = Sessions()
    for packed in opened:
        sessions.add_packed(packed)
    return start, sessions


def _begun(opened: Iterator[bytes]) -> tuple[int, int]:
    """What the first record says."""
    begin = next(opened, None)
    if begin is None:
        raise SpoolError("the spool is cut off, or another key made it")
    start, threshold = _BEGIN.unpack(begin)
    return start, threshold


def _names_of(records: Iterator[_Record], secret: bytes) -> WellKnownNames:
    """The names of an interval as a list: number i is row i."""
    kinds: list[NDArray[np.uint8]] = [np.empty(0, np.uint8)]
    lengths: list[NDArray[np.uint8]] = [np.empty(0, np.uint8)]
    names: list[NDArray[np.uint8]] = [np.empty(0, np.uint8)]
    for record in records:
        kinds.append(record.name_kinds)
        lengths.append(record.name_lengths)
        names.append(record.names)
    sizes = np.concatenate(lengths)
    offsets = np.zeros(len(sizes) + 1, np.uint32)
    np.cumsum(sizes, out=offsets[1:])
    return WellKnownNames(np.concatenate(names), offsets, np.concatenate(kinds), secret)


def _records(spool: Buffer, key: bytes) -> Iterator[_Record]:
    opened = _opened(spool, key)
    next(opened)
    return (_Record.of(octets) for octets in opened)


def _opened(spool: Buffer, key: bytes) -> Iterator[bytes]:
    """The records that open, up to the first that does not."""
    view = memoryview(spool)
    at = len(_MAGIC) + SALT_SIZE
    if len(view) < at or bytes(view[: len(_MAGIC)]) not in {_MAGIC, _MAGIC_OF_SESSIONS}:
        raise SpoolError("the file is no spool")
    cipher = _cipher(key, bytes(view[len(_MAGIC) : at]))
    number = 0
    while at + _LENGTH.size <= len(view):
        (length,) = _LENGTH.unpack_from(view, at)
        at += _LENGTH.size
        if length > len(view) - at:
            return
        try:
            record = cipher.decrypt(number.to_bytes(12, "little"), view[at : at + length], None)
        except InvalidTag:
            return
        yield record
        at += length
        number += 1


def _kinds(counted: Counted) -> NDArray[np.uint8]:
    types = np.full(len(counted), 4, np.uint8)
    for place, qtype in enumerate(_TYPES[:4].tolist()):
        types[counted.qtypes == qtype] = place
    types[counted.qclasses != 1] = 5
    rcodes = np.full(len(counted), 3, np.uint8)
    for place, rcode in enumerate(_RCODES[:3].tolist()):
        rcodes[counted.rcodes == rcode] = place
    families = counted.families >> np.uint8(1)  # 0, 4, 6 to 0, 2, 3
    families -= families > 0
    kinds: NDArray[np.uint8] = types | rcodes << np.uint8(3) | families << np.uint8(5)
    return kinds


def _cipher(key: bytes, salt: bytes) -> AESGCM:
    if len(salt) != SALT_SIZE:
        raise ValueError(f"a salt has {SALT_SIZE} octets, not {len(salt)}")
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=salt, info=_PURPOSE).derive(key))
