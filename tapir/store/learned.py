"""The global configuration that was accepted last, so that it holds after a restart and cannot be replayed."""

import base64
import hashlib
from pathlib import Path
from typing import Final

import attrs

from tapir.codec.globalconfig import (
    GlobalConfiguration,
    GlobalConfigurationError,
    parse_global_configuration,
)
from tapir.store.documents import read_document, write_document
from tapir.store.errors import StoreCorrupt

_MOST_TIME: Final = 1 << 62


@attrs.frozen(kw_only=True)
class Learned:
    """What was accepted, as it came, and when (microseconds since the epoch)."""

    configuration: GlobalConfiguration
    payload: bytes = attrs.field(repr=False)
    received_at: int


def read_learned(path: Path) -> Learned | None:
    """What was written last, None where nothing was. Blocks. Raises StoreCorrupt, StoreFull."""
    document = read_document(path)
    if document is None:
        return None
    payload, digest, received_at = (document.get(key) for key in ("payload", "sha256", "received-at"))
    if not isinstance(payload, str) or not isinstance(received_at, int) or not 0 <= received_at < _MOST_TIME:
        raise StoreCorrupt(path=path, reason="it holds no global configuration")
    try:
        octets = base64.b64decode(payload, validate=True)
        if hashlib.sha256(octets).hexdigest() != digest:
            raise StoreCorrupt(path=path, reason="the global configuration in it is damaged")
        configuration = parse_global_configuration(octets)
    except (ValueError, GlobalConfigurationError) as exc:
        raise StoreCorrupt(path=path, reason="what it holds is no global configuration") from exc
    return Learned(configuration=configuration, payload=octets, received_at=received_at)


def write_learned(path: Path, learned: Learned) -> None:
    """Remember `learned`; on disk when this returns, and readable by us alone: a token is in it. Blocks.

    Raises StoreFull.
    """
    document = {
        "payload": base64.b64encode(learned.payload).decode(),
        "sha256": hashlib.sha256(learned.payload).hexdigest(),
        "received-at": learned.received_at,
    }
    write_document(path, document, mode=0o600)
