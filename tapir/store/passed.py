"""Records that are passed through, in a database beside the rules: a snapshot in parts, and what a log makes of it."""

from collections.abc import Iterable, Sequence
from typing import Final

from tapir.codec.passed import amended, net
from tapir.model.blocks import PassedDelta
from tapir.store.blobs import BlobError, BlobKind
from tapir.store.database import Database
from tapir.store.packing import pack_passed, unpack_passed

# so that who reads or writes one holds the interpreter for a moment only
_PART: Final = 1 << 12


def put_passed(database: Database, records: Sequence[bytes], *, before: int) -> tuple[int, int]:
    """Store the snapshot anew, of which `before` parts are stored; returns how many are now, and their octets."""
    for number in range(before):
        database.drop(_key(number))
    parts = [records[start : start + _PART] for start in range(0, len(records), _PART)]
    octets = [database.put(BlobKind.PASSED, _key(number), pack_passed(part)) for number, part in enumerate(parts)]
    return len(parts), sum(octets)


def read_passed(database: Database, parts: int, deltas: Iterable[PassedDelta], *, wanted: int) -> tuple[bytes, ...]:
    """The snapshot in `parts` parts after `deltas`. Raises BlobError unless that is `wanted` records."""
    records = [
        record for number in range(parts) for record in unpack_passed(database.get(BlobKind.PASSED, _key(number)))
    ]
    try:
        held = amended(records, net(deltas))
    except ValueError as exc:
        raise BlobError(str(exc)) from exc
    if len(held) != wanted:
        raise BlobError(f"{len(held)} records are passed through where {wanted} were stored")
    return held


def _key(number: int) -> str:
    return f"passed/{number}"
