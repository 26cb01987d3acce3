"""The file `services.rpz.serialcache`: one line of YAML, `current_serial: N`, as the reference implementation has it.

It is read at the first start, and kept current so that going back to the old daemon works; and it is the serial's
second copy when the zone's own store is lost.
"""

import errno
import os
import stat
from pathlib import Path
from typing import Final

import attrs
import yaml

from tapir.store.database import translated
from tapir.store.files import replace_file, write_all

_KEY: Final = "current_serial"
_MAX_SERIAL: Final = 2**32 - 1
_MAX_OCTETS: Final = 64 * 1024
_MODE: Final = 0o644


@attrs.frozen(kw_only=True)
class CachedSerial:
    """What the file says: a serial, or None and the reason why there is none."""

    serial: int | None
    reason: str = ""


def read_serialcache(path: Path) -> CachedSerial:
    """The serial in the file at `path`; a file that is missing, empty or bad is no error."""
    try:
        with path.open("rb") as file:
            octets = file.read(_MAX_OCTETS + 1)
    except FileNotFoundError:
        return _nothing("there is no such file")
    except OSError as exc:
        return _nothing(exc.strerror or str(exc))
    if not octets.strip():
        return _nothing("it is empty")
    if len(octets) > _MAX_OCTETS:
        return _nothing("it is too long")
    try:
        content = yaml.safe_load(octets)
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        return _nothing(f"it is not YAML: {type(exc).__name__}")
    serial = content.get(_KEY) if isinstance(content, dict) else None
    if isinstance(serial, bool) or not isinstance(serial, int):
        return _nothing(f"it has no {_KEY} with a number")
    if not 0 <= serial <= _MAX_SERIAL:
        return _nothing(f"its {_KEY} is not a serial")
    return CachedSerial(serial=serial)


def _nothing(reason: str) -> CachedSerial:
    return CachedSerial(serial=None, reason=reason)


def write_serialcache(path: Path, serial: int) -> None:
    """Put `serial` into the file at `path`; its mode and owner stay, a new file gets 0644.

    Atomic where the folder may be written. Where only the file may (packages make it for the daemon's user, in root's
    folder), its one line is overwritten in place. Raises StoreFull, and then the old line still stands.
    """
    if not 0 <= serial <= _MAX_SERIAL:
        raise ValueError(f"{serial} is not a serial")
    line = f"{_KEY}: {serial}\n".encode()
    with translated(path):
        # A link stays a link: what it points to is replaced.
        target = path.resolve()
        try:
            before = target.stat()
        except FileNotFoundError:
            replace_file(target, line, mode=_MODE)
            return
        try:
            replace_file(target, line, mode=stat.S_IMODE(before.st_mode), owner=(before.st_uid, before.st_gid))
        except OSError as exc:
            # Not ours to replace: no right to the folder, or none to give the new file its old owner; or the file is a
            # mount of its own, as containers make them.
            if exc.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY):
                raise
            _overwrite(target, line)


def _overwrite(target: Path, line: bytes) -> None:
    descriptor = os.open(target, os.O_WRONLY)
    try:
        # Written over, then cut: a crash in between leaves the new line and perhaps a rest, never an empty file.
        write_all(descriptor, line)
        os.ftruncate(descriptor, len(line))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
