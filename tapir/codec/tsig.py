"""TSIG (RFC 8945): signatures with a shared secret, on one message or on all messages of a transfer.

Reading, checking and making of TSIG records; dnspython is the oracle. A message may be in pieces, so that a transfer
is signed where it lies. Times are microseconds since the epoch, on the wire seconds. Only HMAC with SHA-2 is spoken:
MD5 and SHA-1 are unknown algorithms here.
"""

import enum
import hmac
import struct
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from tapir.codec.dnswire import (
    HEADER_OCTETS,
    Record,
    WireError,
    encode_record,
    read_header,
    read_name,
    read_question,
    read_record,
)
from tapir.model.errors import TapirError
from tapir.model.names import Name, parse_name

TYPE_TSIG: Final = 250
CLASS_ANY: Final = 255
FUDGE: Final = 300
"""seconds that two clocks may differ, as RFC 8945 §10 recommends"""
MOST_KEY_NAME: Final = 100
"""octets of a key's name: with the longest question, an OPT and the longest MAC it stays within 512"""

ALGORITHMS: Final = {"hmac-sha224": "sha224", "hmac-sha256": "sha256", "hmac-sha384": "sha384", "hmac-sha512": "sha512"}
"""what is spoken, and hashlib's name for the hash"""

_SECOND: Final = 1_000_000
_LEAST_MAC: Final = 10  # RFC 8945 §5.2.2.1
_COUNTS: Final = struct.Struct("!H")
_TIMERS: Final = struct.Struct("!HIH")
_TAIL: Final = struct.Struct("!HHH")

Buffer = bytes | bytearray | memoryview


class TsigKeyError(TapirError):
    """A name, algorithm or secret makes no key. Never says the secret."""


class TsigError(enum.IntEnum):
    """Why a signature is not taken (RFC 8945 §5.2), as the record says it."""

    BADSIG = 16
    BADKEY = 17
    BADTIME = 18
    BADTRUNC = 22


@attrs.frozen(kw_only=True, repr=False)
class TsigKey:
    """A secret that two servers share; its repr is its name. Raises TsigKeyError."""

    name: Name
    algorithm: str
    """a key of ALGORITHMS"""
    secret: bytes
    _fresh: hmac.HMAC = attrs.field(init=False, eq=False)
    """keyed, and nothing hashed yet: to be copied"""
    _algorithm_name: Name = attrs.field(init=False, eq=False)

    def __attrs_post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise TsigKeyError(f"{self.algorithm} is no algorithm for TSIG; allowed are {', '.join(ALGORITHMS)}")
        if len(self.name) > MOST_KEY_NAME:
            raise TsigKeyError(f"the name of a key has {len(self.name)} octets; allowed are {MOST_KEY_NAME}")
        if not self.secret:
            raise TsigKeyError("the secret of a key is empty")
        object.__setattr__(self, "_fresh", hmac.new(self.secret, digestmod=ALGORITHMS[self.algorithm]))
        object.__setattr__(self, "_algorithm_name", parse_name(self.algorithm))

    @property
    def algorithm_name(self) -> Name:
        """The algorithm as records name it."""
        return self._algorithm_name

    @property
    def mac_octets(self) -> int:
        """The length of a whole MAC."""
        return self._fresh.digest_size

    @property
    def record_octets(self) -> int:
        """The length of a TSIG record by this key, without other data."""
        return len(self.name) + 10 + len(self._algorithm_name) + 16 + self.mac_octets

    def digest(self, pieces: Iterable[Buffer]) -> bytes:
        """The whole MAC of `pieces`."""
        state = self._fresh.copy()
        for piece in pieces:
            state.update(piece)
        return state.digest()

    def begin(self) -> hmac.HMAC:
        """A MAC of nothing yet, to be fed."""
        return self._fresh.copy()

    def __repr__(self) -> str:
        return f"<TsigKey {self.name!r} {self.algorithm}>"


Keys = Mapping[Name, TsigKey]


@attrs.frozen(kw_only=True)
class TsigRecord:
    """A TSIG record as it came (RFC 8945 §4.2); names in lower case, `signed` in seconds."""

    start: int
    """where in its message it begins"""
    key: Name
    algorithm: Name
    signed: int
    fudge: int
    mac: bytes
    original_id: bytes
    error: int
    other: bytes


@attrs.frozen(kw_only=True)
class Verified:
    """The message was signed by `key`, lately."""

    key: TsigKey
    mac: bytes


@attrs.frozen(kw_only=True)
class Rejected:
    """The signature is not taken. `key` is there when the MAC is right all the same: the error is then signed."""

    error: TsigError
    record: TsigRecord
    key: TsigKey | None = None


# -- reading


def read_tsig(wire: bytes, record: Record) -> TsigRecord:
    """What the TSIG `record` of `wire` says; raises WireError."""
    if record.rdclass != CLASS_ANY or record.ttl:
        raise WireError("its TSIG record has a class or a TTL")  # RFC 8945 §4.2
    key, _ = read_name(wire, record.start)
    algorithm, position = read_name(wire, record.rdata)
    if position + 10 > record.end:
        raise WireError("its TSIG record is cut short")
    signed_high, signed_low, fudge = _TIMERS.unpack_from(wire, position)
    (mac_octets,) = _COUNTS.unpack_from(wire, position + 8)
    after_mac = position + 10 + mac_octets
    if after_mac + 6 > record.end:
        raise WireError("its TSIG record is cut short")
    _, error, other_octets = _TAIL.unpack_from(wire, after_mac)
    if after_mac + 6 + other_octets != record.end:
        raise WireError("its TSIG record has the wrong length")
    return TsigRecord(
        start=record.start,
        key=key,
        algorithm=algorithm,
        signed=signed_high << 32 | signed_low,
        fudge=fudge,
        mac=wire[position + 10 : after_mac],
        original_id=wire[after_mac : after_mac + 2],
        error=error,
        other=wire[after_mac + 6 : record.end],
    )


def find_tsig(wire: bytes) -> TsigRecord | None:
    """The TSIG record that ends `wire`, or None; raises WireError where it cannot be read to its end."""
    counts = read_header(wire).counts
    position = HEADER_OCTETS
    for _ in range(counts[0]):
        _, position = read_question(wire, position)
    found: Record | None = None
    for _ in range(sum(counts[1:])):
        if found is not None and found.rdtype == TYPE_TSIG:
            raise WireError("its TSIG record is not the last")
        found = read_record(wire, position)
        position = found.end
    if position != len(wire):
        raise WireError(f"{len(wire) - position} octets follow the message")
    if found is None or found.rdtype != TYPE_TSIG or not counts[3]:
        return None
    return read_tsig(wire, found)


# -- checking


def check_request(wire: bytes, record: TsigRecord, keys: Keys, *, now: int) -> Verified | Rejected:
    """Whether the request `wire`, which ends in `record`, is signed by one of `keys`, in the order of RFC 8945 §5.2.

    Raises WireError for a MAC whose length the algorithm does not have: that is a FORMERR (§5.2.2.1).
    """
    key = keys.get(record.key)
    if key is None or key.algorithm_name != record.algorithm:
        return Rejected(error=TsigError.BADKEY, record=record)
    error = check(wire, record, key, now=now)
    if error is None:
        return Verified(key=key, mac=record.mac)
    return Rejected(error=error, record=record, key=None if error is TsigError.BADSIG else key)


def check(wire: bytes, record: TsigRecord, key: TsigKey, *, now: int, request_mac: bytes = b"") -> TsigError | None:
    """What is wrong with the signature `record` of `wire` by `key`, if anything.

    `request_mac` is the MAC of the request that `wire` answers. A MAC that was cut is not taken, not even one that
    RFC 8945 §5.2.2.1 would let pass. Raises WireError for a MAC of a length that no policy allows.
    """
    if not max(_LEAST_MAC, key.mac_octets // 2) <= len(record.mac) <= key.mac_octets:
        raise WireError(f"its MAC has {len(record.mac)} octets, which {key.algorithm} does not make")
    (count,) = _COUNTS.unpack_from(wire, 10)
    made = key.digest(
        (
            _mac_field(request_mac),
            record.original_id + wire[2:10] + _COUNTS.pack(count - 1 & 0xFFFF),
            memoryview(wire)[HEADER_OCTETS : record.start],
            _variables(key, record.signed, record.fudge, record.error, record.other),
        )
    )
    if not hmac.compare_digest(made[: len(record.mac)], record.mac):
        return TsigError.BADSIG
    if abs(now // _SECOND - record.signed) > record.fudge:
        return TsigError.BADTIME
    if len(record.mac) < key.mac_octets:
        return TsigError.BADTRUNC
    return None


# -- making


class Signer:
    """Signs messages by `key`, in the order in which they are sent.

    The first is a request, or with `request_mac` the first answer to one; each later one carries the chain of a
    transfer on (RFC 8945 §5.3.1).
    """

    def __init__(self, key: TsigKey, *, request_mac: bytes = b"") -> None:
        self.key = key
        self._prior = _mac_field(request_mac)
        self._first = True

    @property
    def octets(self) -> int:
        """How many octets each record takes."""
        return self.key.record_octets

    @property
    def mac(self) -> bytes:
        """The MAC of the last message that was signed: what its answer is checked with."""
        return self._prior[2:]

    def sign(self, pieces: Iterable[Buffer], *, id_: int, now: int) -> bytes:
        """The TSIG record for the message `pieces`, whose header has `id_` and does not count the record yet."""
        return self._sign(pieces, id_=id_, signed=now // _SECOND, fudge=FUDGE, error=0, other=b"")

    def sign_rejection(self, wire: bytes, rejected: Rejected, *, now: int) -> bytes:
        """The TSIG record for the error `wire` (§5.2.3): the requester's time, so that it can check it, and ours."""
        record = rejected.record
        other = _pack_time(now // _SECOND) if rejected.error is TsigError.BADTIME else b""
        id_ = int.from_bytes(wire[:2], "big")
        return self._sign((wire,), id_=id_, signed=record.signed, fudge=record.fudge, error=rejected.error, other=other)

    def _sign(self, pieces: Iterable[Buffer], *, id_: int, signed: int, fudge: int, error: int, other: bytes) -> bytes:
        key = self.key
        timers = _timers(signed, fudge)
        closing = _variables(key, signed, fudge, error, other) if self._first else timers
        mac = key.digest((self._prior, *pieces, closing))
        self._prior = _mac_field(mac)
        self._first = False
        return _encode(key.name, key.algorithm_name, timers, mac, id_, error, other)


def seal(wire: bytes, record: bytes) -> bytes:
    """`wire` with the TSIG `record` at its end, counted."""
    (count,) = _COUNTS.unpack_from(wire, 10)
    return b"".join((wire[:10], _COUNTS.pack(count + 1), wire[HEADER_OCTETS:], record))


def signed(wire: bytes, signer: Signer, *, now: int) -> bytes:
    """The message `wire` with its signature."""
    return seal(wire, signer.sign((wire,), id_=int.from_bytes(wire[:2], "big"), now=now))


def encode_rejection(rejected: Rejected) -> bytes:
    """The record of an error that must not be signed (RFC 8945 §5.3.2)."""
    record = rejected.record
    id_ = int.from_bytes(record.original_id, "big")
    return _encode(record.key, record.algorithm, _timers(record.signed, record.fudge), b"", id_, rejected.error, b"")


def _encode(key: Name, algorithm: Name, timers: bytes, mac: bytes, id_: int, error: int, other: bytes) -> bytes:
    rdata = b"".join((algorithm, timers, _mac_field(mac, always=True), _TAIL.pack(id_, error, len(other)), other))
    return encode_record(key, TYPE_TSIG, CLASS_ANY, 0, rdata)


def _mac_field(mac: bytes, *, always: bool = False) -> bytes:
    """A MAC behind its length; nothing for none, unless `always`."""
    return _COUNTS.pack(len(mac)) + mac if mac or always else b""


def _pack_time(seconds: int) -> bytes:
    return seconds.to_bytes(6, "big")


def _timers(signed: int, fudge: int) -> bytes:
    return _TIMERS.pack(signed >> 32, signed & 0xFFFFFFFF, fudge)


def _variables(key: TsigKey, signed: int, fudge: int, error: int, other: bytes) -> bytes:
    return b"".join(
        (
            key.name,
            b"\0\xff\0\0\0\0",  # class ANY, TTL 0
            key.algorithm_name,
            _timers(signed, fudge),
            struct.pack("!HH", error, len(other)),
            other,
        )
    )
