"""Small documents of state: one JSON object a file, old or new after a crash, never torn.

For what is little and changes seldom: the exceptional events, and what the clock's keeper remembers.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tapir.store.database import translated
from tapir.store.errors import StoreCorrupt
from tapir.store.files import replace_file

FORMAT: Final = 1
_MODE: Final = 0o640
_MOST: Final = 4 << 20
"""octets; no document of ours comes near it"""


def read_document(path: Path) -> dict[str, Any] | None:
    """What `write_document` put at `path`, None where nothing was. Blocks.

    Raises StoreCorrupt for anything else that lies there, also for the format of a newer tapir, and StoreFull where
    the disk does not give it.
    """
    with translated(path):
        try:
            with path.open("rb") as file:
                octets = file.read(_MOST + 1)
        except FileNotFoundError:
            return None
    if len(octets) > _MOST:
        raise StoreCorrupt(path=path, reason="it is too long to be ours")
    try:
        document = json.loads(octets)
    except (ValueError, RecursionError) as exc:
        raise StoreCorrupt(path=path, reason="it is not JSON") from exc
    if not isinstance(document, dict) or document.pop("format", None) != FORMAT:
        raise StoreCorrupt(path=path, reason=f"it is not of format {FORMAT}, which this tapir knows")
    return document


def write_document(path: Path, document: Mapping[str, Any], *, mode: int = _MODE) -> None:
    """Put `document`, which JSON can say, at `path`; on disk when this returns. Blocks. Raises StoreFull."""
    text = json.dumps({"format": FORMAT, **document}, separators=(",", ":"))
    with translated(path):
        replace_file(path, text.encode() + b"\n", mode=mode)
