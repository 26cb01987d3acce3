"""Collecting faults and notices while the configuration is worked out."""

from collections.abc import Callable
from typing import TypeVar

import attrs

from tapir.app.config.document import Document
from tapir.app.config.problems import ConfigErrors, Fault, KeyPath, Notice, Place, format_key

T = TypeVar("T")
R = TypeVar("R")


class Invalid(Exception):
    """A value is not what is allowed there; the text says both."""


class Report:
    """All that was found so far, in the order of the files."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self._faults: list[Fault] = []
        self._notices: list[Notice] = []
        self._broken: set[KeyPath] = set()
        for trouble in document.troubles:
            if trouble.fatal:
                self._faults.append(Fault(place=trouble.place, key=format_key(trouble.path), text=trouble.text))
            else:
                self._note(trouble.place, trouble.path, trouble.text, warning=True)

    def error(self, path: KeyPath, text: str) -> None:
        """What is at `path` cannot be used."""
        self._broken.add(path)
        self._faults.append(Fault(place=self.document.place_of(path), key=format_key(path), text=text))

    def warn(self, path: KeyPath, text: str) -> None:
        """What is at `path` probably does not do what was meant."""
        self._note(self.document.place_of(path), path, text, warning=True)

    def note(self, path: KeyPath, text: str) -> None:
        """What is at `path` deserves a word."""
        self._note(self.document.place_of(path), path, text, warning=False)

    def _note(self, place: Place, path: KeyPath, text: str, *, warning: bool) -> None:
        self._notices.append(Notice(place=place, key=format_key(path), text=text, warning=warning))

    def is_broken(self, path: KeyPath) -> bool:
        """Whether a fault is known at `path` or above, or its file could not be read at all."""
        if self.document.place_of(path).file in self.document.unread:
            return True  # nobody knows what it would have said
        return any(path[:length] in self._broken for length in range(1, len(path) + 1))

    def missing(self, path: KeyPath, wanted: str) -> None:
        """`path` must be given; silent where something is known to be wrong there already."""
        if not self.is_broken(path):
            self.error(path, f"{'has no value' if path in self.document else 'missing'}; {wanted}")

    def parse(self, path: KeyPath, value: T, parser: Callable[[T], R], fallback: R) -> R:
        """`value` through `parser`; where that raises Invalid, an error at `path` and `fallback`."""
        try:
            return parser(value)
        except Invalid as exc:
            self.error(path, str(exc))
            return fallback

    def notices(self) -> tuple[Notice, ...]:
        """What was noticed, in the order of the files."""
        return tuple(sorted(self._notices, key=lambda notice: _rank(self.document, notice.place)))

    def raise_faults(self) -> None:
        """Raise ConfigErrors with all faults, if there are any."""
        if self._faults:
            faults = sorted(self._faults, key=lambda fault: _rank(self.document, fault.place))
            raise ConfigErrors(errors=tuple(faults), notices=self.notices())


def _rank(document: Document, place: Place) -> tuple[int, int]:
    return document.rank_of(place.file), place.line


@attrs.frozen
class Section:
    """One section of the files with the report on it; `key` arguments are relative to `path`."""

    report: Report
    path: KeyPath

    def at(self, *steps: str | int) -> "Section":
        """The section or value below."""
        return Section(self.report, (*self.path, *steps))

    def parse(self, key: str, value: T | None, parser: Callable[[T], R], default: R) -> R:
        """`value` of `key` through `parser`, or `default` when it is not given or not allowed."""
        return default if value is None else self.report.parse((*self.path, key), value, parser, default)

    def require(self, key: str, value: T | None, parser: Callable[[T], R], *, wanted: str, fallback: R) -> R:
        """As `parse`, and an error when the key is not given."""
        if value is None:
            self.report.missing((*self.path, key), wanted)
        return self.parse(key, value, parser, fallback)

    def parse_each(
        self, key: str, values: tuple[T | None, ...] | None, parser: Callable[[T], R], *, wanted: str
    ) -> tuple[R, ...]:
        """The items of a list through `parser`, without those that are not allowed."""
        items: list[R] = []
        for index, value in enumerate(values or ()):
            path = (*self.path, key, index)
            try:
                if value is None:
                    self.report.missing(path, wanted)
                else:
                    items.append(parser(value))
            except Invalid as exc:
                self.report.error(path, str(exc))
        return tuple(items)

    def error(self, key: str, text: str) -> None:
        """An error at `key`."""
        self.report.error((*self.path, key), text)

    def warn(self, key: str, text: str) -> None:
        """A warning at `key`."""
        self.report.warn((*self.path, key), text)

    def note(self, key: str, text: str) -> None:
        """A notice at `key`."""
        self.report.note((*self.path, key), text)
