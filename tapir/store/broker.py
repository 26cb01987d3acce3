"""What has to outlive a restart so that the broker knows us again: how we are called, and what it may still hold."""

from pathlib import Path
from typing import Final

import attrs

from tapir.codec.mqtt.packets import MalformedPacket, check_filter
from tapir.store.documents import read_document, write_document
from tapir.store.errors import StoreCorrupt

_MOST_FILTERS: Final = 1000
_SUFFIX: Final = frozenset("0123456789abcdef")


@attrs.frozen(kw_only=True)
class BrokerSession:
    """`suffix` ends our client identifier; `filters` are those that the broker's session may be subscribed to.

    `known` says that the broker has welcomed us under it before.
    """

    suffix: str
    filters: tuple[str, ...] = ()
    known: bool = False


def read_session(path: Path) -> BrokerSession | None:
    """What was written last, None where nothing was. Blocks. Raises StoreCorrupt, StoreFull."""
    document = read_document(path)
    if document is None:
        return None
    suffix, filters = document.get("suffix"), document.get("filters")
    if not isinstance(suffix, str) or not 0 < len(suffix) <= 64 or not set(suffix) <= _SUFFIX:
        raise StoreCorrupt(path=path, reason="it has no suffix of a client identifier")
    if not isinstance(filters, list) or len(filters) > _MOST_FILTERS:
        raise StoreCorrupt(path=path, reason="it has no list of topic filters")
    try:
        for each in filters:
            check_filter(each)
    except (MalformedPacket, AttributeError) as exc:
        raise StoreCorrupt(path=path, reason="one of its topic filters is none") from exc
    return BrokerSession(suffix=suffix, filters=tuple(filters), known=document.get("known") is True)


def write_session(path: Path, session: BrokerSession) -> None:
    """Remember `session`; on disk when this returns. Blocks. Raises StoreFull."""
    write_document(path, {"suffix": session.suffix, "filters": session.filters[:_MOST_FILTERS], "known": session.known})
