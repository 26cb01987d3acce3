"""What is wrong with the files: all of it at once, each with its place.

A *fault* keeps the configuration from being used; a *notice* does not. Both read `file:line: key.path: text`.
"""

from pathlib import Path

import attrs

from tapir.model.errors import TapirError

KeyPath = tuple[str | int, ...]
"""Where a value stands: keys in canonical spelling, and positions in lists."""


def format_key(path: KeyPath) -> str:
    """`path` as people write it: `dnsengine.addresses[1]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f"{'.' if text else ''}{step if step.isprintable() else ascii(step)}"
    return text


@attrs.frozen
class Place:
    """A line of a file; line 0 is the file as such."""

    file: Path
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else str(self.file)


@attrs.frozen(kw_only=True)
class Fault:
    """Something that must be mended before this configuration can be used: what is wrong, what is allowed."""

    place: Place
    key: str
    text: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (str(self.place), self.key, self.text)))


@attrs.frozen(kw_only=True)
class Notice:
    """Something that the operator should know and that stops nothing."""

    place: Place
    key: str
    text: str
    warning: bool
    """whether it probably does not do what the operator meant"""

    def __str__(self) -> str:
        return ": ".join(filter(None, (str(self.place), self.key, self.text)))


class ConfigErrors(TapirError):
    """The configuration cannot be used, and nothing of it was taken; `str()` has one fault a line."""

    def __init__(self, *, errors: tuple[Fault, ...], notices: tuple[Notice, ...]) -> None:
        super().__init__("\n".join(map(str, errors)))
        self.errors = errors
        self.notices = notices

    @property
    def lines(self) -> tuple[str, ...]:
        """One line a fault: `file:line: key.path: what is wrong, what is allowed`."""
        return tuple(map(str, self.errors))
