"""Lists that are looked up where they lie: in a mapped copy of their file. Blocking: for a worker."""

from pathlib import Path

from tapir.codec.dawg import Dawg, DawgError, parse_dawg
from tapir.model.blocks import LookupList
from tapir.policy.lookups import LookupGoneError
from tapir.store.staging import map_copy


def open_copy(content: LookupList) -> Dawg:
    """What `content` refers to, checked whole. Raises LookupGoneError.

    It stays usable when the copy is removed, and is given back when nobody refers to it any more.
    """
    try:
        return parse_dawg(map_copy(Path(content.path)))
    except OSError as exc:
        raise LookupGoneError(path=content.path, reason=exc.strerror or str(exc)) from exc
    except DawgError as exc:
        raise LookupGoneError(path=content.path, reason=f"is damaged: {exc}") from exc
