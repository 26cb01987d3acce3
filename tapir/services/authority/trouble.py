"""A store that fails is said so once, and tried again with back-off."""

import math
from typing import TYPE_CHECKING, Any, Final

import trio

from tapir.store.errors import StoreError

if TYPE_CHECKING:
    import logging

_FIRST: Final = 1.0
_MOST: Final = 60.0


class StoreTrouble:
    """What is wrong with the store, if anything, and when to try again; times are Trio's."""

    def __init__(self, log: "logging.LoggerAdapter[Any]") -> None:
        self.error = ""
        """empty while the store works"""
        self.retry_at = math.inf
        """when there is something to do that nobody will ask for"""
        self._log = log
        self._after = _FIRST

    @property
    def waiting(self) -> bool:
        """Whether the store failed, and it is too early to try again."""
        return bool(self.error) and trio.current_time() < self.retry_at

    def failed(self, exc: StoreError) -> None:
        """The store failed once more."""
        if not self.error:
            self._log.error("the store fails, what is published stays as it is: %s", exc)
        self.error = str(exc)
        self.retry_at = trio.current_time() + self._after
        self._after = min(2 * self._after, _MOST)

    def worked(self) -> None:
        """The store took what it was given."""
        if self.error:
            self._log.info("the store works again")
        self._forget()

    def relieved(self) -> None:
        """There is nothing left to write; whether the store works again, the next write tells."""
        if self.error:
            self._log.info("the store has nothing to take any more; it failed: %s", self.error)
        self._forget()

    def _forget(self) -> None:
        self.error = ""
        self.retry_at = math.inf
        self._after = _FIRST
