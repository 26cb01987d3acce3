"""The keystore file: the public keys that messages are verified with, read again when the file changed.

Whoever distributes keys puts the file there; it is not ours, and nothing is written. Several readers of one file have
an object each. Blocking, and one call at a time per object; a call while the file is as it was costs one `stat`.
"""

import os
import stat
import time
from pathlib import Path
from typing import Final

from tapir.codec.jose import KeyDocumentError, Keystore, parse_keystore
from tapir.codec.jose.keystore import MAX_DOCUMENT
from tapir.store.errors import StoreError
from tapir.store.files import FileIdentity

_YOUNG: Final = 100_000_000
"""nanoseconds in which a file system with a coarse clock may not tell two writes apart"""


class KeystoreFile:
    """The keys in the file at `path`, a JWK or a JWK Set (RFC 7517)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sign: FileIdentity | None = None
        self._keystore: Keystore | None = None
        self._refused: str | None = None

    @property
    def latest(self) -> Keystore | None:
        """The keys of the last file that could be used, whatever lies there now; None when there was none yet."""
        return self._keystore

    def current(self) -> Keystore:
        """The keys that the file holds now; the same object as before when it did not change.

        Raises StoreError when there is no such file or it cannot be read, and KeyDocumentError when it is no keystore.
        `latest` then stays, and the next call looks again.
        """
        try:
            sign = FileIdentity.of(self.path.stat())
            if sign != self._sign or self._sign is None:
                sign, data = _read(self.path)
                self._parse(data)
                # Written so lately that another write may look the same: the next call reads it once more.
                self._sign = None if _is_young(sign) else sign
        except OSError as exc:
            self._sign = None
            raise StoreError(path=self.path, reason=f"the keystore cannot be read: {exc.strerror or exc}") from exc
        if self._refused is not None or self._keystore is None:
            raise KeyDocumentError(f"the keystore {self.path} cannot be used: {self._refused}")
        return self._keystore

    def _parse(self, data: bytes) -> None:
        try:
            found = parse_keystore(data)
        except KeyDocumentError as exc:
            self._refused = str(exc)
            return
        self._refused = None
        if found != self._keystore:
            self._keystore = found


def _is_young(sign: FileIdentity) -> bool:
    return abs(time.time_ns() - sign.changed_ns) < _YOUNG


def _read(path: Path) -> tuple[FileIdentity, bytes]:
    """The sign and the octets of one state of the file, one more than allowed at most. Raises OSError."""
    with open(path, "rb", opener=_open_at_once) as file:
        status = os.fstat(file.fileno())
        return FileIdentity.of(status), file.read(MAX_DOCUMENT + 1)


def _open_at_once(path: str, flags: int) -> int:
    # A FIFO would otherwise be waited for.
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is no regular file")
    return descriptor
