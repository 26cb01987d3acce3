"""What the log says of connections: what goes wrong once an hour at most, and when it is over. Never who it was."""

import logging
from typing import Final

import attrs
import trio

from tapir.transport.framestream import ConnectionSummary

_Log = logging.LoggerAdapter[logging.Logger]

_QUIET: Final = 3600.0
"""seconds for which what was said is not said again"""


@attrs.define
class _Said:
    at: float
    since: int = 0
    """how often it came since it was said"""
    lasts: bool = True
    """whether its end is still to be said"""


class InputVoice:
    """Belongs to one incarnation of the input."""

    def __init__(self, log: _Log) -> None:
        self._log = log
        self._said: dict[str, _Said] = {}

    def ended(self, name: str, summary: ConnectionSummary) -> None:
        """A connection of the listener `name` ended."""
        if summary.failure is None:
            if summary.frames:
                self._over()
            return
        detail = f": {summary.detail}" if summary.detail else ""
        taken = f"; its {summary.frames} frames before that were taken" if summary.frames else ""
        self._warn(
            f"{name} {summary.failure.value}",
            f"input: a sender on {name} was given up ({summary.failure.value}{detail}){taken}",
        )

    def refused(self, count: int, limit: int) -> None:
        """So many connections were refused since the last look."""
        if count:
            self._warn(
                "refused", f"input: a sender was refused, since {limit} are connected (input-connections)", count
            )

    def exhausted(self, name: str, count: int) -> None:
        """Accepting failed so often since the last look, with the error of this name."""
        if count:
            self._warn(
                f"accept {name}", f"input: a connection could not be accepted ({name}); it is tried again", count
            )

    def _warn(self, key: str, text: str, count: int = 1) -> None:
        now = trio.current_time()
        said = self._said.get(key)
        if said is not None and now - said.at < _QUIET:
            said.since += count
            return
        before = f" ({said.since} more since that was said last)" if said is not None and said.since else ""
        self._log.warning("%s%s", text, before)
        self._said[key] = _Said(now)

    def _over(self) -> None:
        if not any(said.lasts for said in self._said.values()):
            return
        for said in self._said.values():
            said.lasts = False
        self._log.info("input: a sender came and went as it should again")
