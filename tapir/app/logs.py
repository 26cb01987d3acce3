"""Logging: always to stderr, one record an event, text or JSON; upstream's files on request.

The levels are four: debug, info, warning, error (`CRITICAL` of the runtime is shown as error).
"""

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Final, TextIO

import attrs

from actors import ActorError
from tapir.model.errors import TapirError

_PRIORITY: Final = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 3}
_LEVEL: Final = {logging.CRITICAL: "error", logging.ERROR: "error", logging.WARNING: "warning", logging.INFO: "info"}


@attrs.frozen(kw_only=True)
class LogSettings:
    """What is logged and how; `files` maps a part of the tree to the file that upstream's keys give it.

    A part is a logger's name with all below it, `actors.authority` with `actors.authority/keeper`; "" is everything.
    """

    level: str = "info"
    json: bool = False
    source_lines: bool = False
    """add file:line to each record"""
    files: Mapping[str, Path] = attrs.field(factory=dict)


class TextFormatter(logging.Formatter):
    """`time level logger: text`; a traceback follows, indented, as part of the same record.

    None follows an error that tapir raised itself: its text says what, where, and what still holds.
    """

    def __init__(self, *, journal: bool = False, source_lines: bool = False) -> None:
        super().__init__()
        self._journal = journal
        self._source_lines = source_lines

    def format(self, record: logging.LogRecord) -> str:
        """The record as one event; under the journal its own time and priority are used."""
        where = f" ({record.filename}:{record.lineno})" if self._source_lines else ""
        text = f"{record.name}: {record.getMessage()}{where}"
        if record.exc_info and not _speaks_for_itself(record.exc_info[1]):
            text += "\n" + self.formatException(record.exc_info)
        text = text.replace("\n", "\n    ")
        if self._journal:
            return f"<{_PRIORITY.get(record.levelno, 6)}>{text}"
        return f"{_time_of(record)} {level_of(record):7} {text}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, text, and the exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        document = {
            "time": _time_of(record),
            "level": level_of(record),
            "logger": record.name,
            "text": record.getMessage(),
        }
        if record.exc_info and not _speaks_for_itself(record.exc_info[1]):
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False)


def _speaks_for_itself(error: BaseException | None) -> bool:
    """Whether `error` is one of ours, or the runtime's word for one of ours (`StartFailed`)."""
    while isinstance(error, ActorError) and error.__cause__ is not None:
        error = error.__cause__
    return isinstance(error, TapirError)


def level_of(record: logging.LogRecord) -> str:
    """The record's level in one of our four words."""
    return _LEVEL.get(record.levelno, "debug")


def _time_of(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def configure_logging(settings: LogSettings, *, stream: TextIO | None = None) -> tuple[str, ...]:
    """Log as `settings` say from now on; returns a sentence for each file that cannot be opened.

    May be called again, on reload: what was set up before is taken away first.
    """
    stream = stream if stream is not None else sys.stderr
    root = logging.getLogger()
    for handler in list(root.handlers):
        if getattr(handler, "owned_by_tapir", False):
            root.removeHandler(handler)
            handler.close()
    journal = _under_journal(stream)
    _add(root, logging.StreamHandler(stream), _formatter(settings, journal=journal))
    root.setLevel(settings.level.upper())
    # WebSocket and DNS libraries say at info what is of interest to their authors.
    for noisy in ("trio-websocket", "trio_websocket", "wsproto"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    problems: list[str] = []
    for name, path in settings.files.items():
        try:
            # Watched: log rotation by renaming works without being told.
            handler = WatchedFileHandler(path, encoding="utf-8")
        except OSError as exc:
            problems.append(f"cannot log to {path}: {exc.strerror}; stderr has everything")
            continue
        handler.addFilter(partial(_is_of, name))
        _add(root, handler, _formatter(settings, journal=False))
    return tuple(problems)


def _is_of(part: str, record: logging.LogRecord) -> bool:
    # Not by the loggers' own hierarchy, which knows dots only: an actor's logger has its path, with slashes.
    return not part or record.name == part or record.name.startswith((f"{part}/", f"{part}."))


def _formatter(settings: LogSettings, *, journal: bool) -> logging.Formatter:
    if settings.json:
        return JsonFormatter()
    return TextFormatter(journal=journal, source_lines=settings.source_lines)


def _add(logger: logging.Logger, handler: logging.Handler, formatter: logging.Formatter) -> None:
    handler.setFormatter(formatter)
    handler.owned_by_tapir = True  # type: ignore[attr-defined]  # how configure_logging finds its own again
    logger.addHandler(handler)


def _under_journal(stream: TextIO) -> bool:
    """Whether `stream` goes to the systemd journal (systemd.exec(5), JOURNAL_STREAM)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))
