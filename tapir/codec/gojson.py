"""JSON as Go decodes it into a struct: members by name in any case, what is unknown ignored, null for nothing.

A member that is there twice in two spellings is refused, where Go takes the last: a message has one meaning.
"""

from collections.abc import Mapping
from typing import Any

from tapir.codec.rfc3339 import YEAR_ONE, parse_time
from tapir.codec.strictjson import type_word
from tapir.model.errors import TapirError


class FieldError(TapirError):
    """A member is not of its type, or out of its range; the text names the member, and shows no value."""


class Fields:
    """The members of one object, whichever case they are written in; `where` begins what is said of them."""

    __slots__ = ("_members", "_where")

    def __init__(self, value: object, where: str = "") -> None:
        self._where = where
        members: dict[str, Any] = {}
        if value is not None:
            if not isinstance(value, Mapping):
                raise FieldError(f"{where or 'it'} is {type_word(value)}, not an object")
            for name, member in value.items():
                folded = name.lower()
                if folded in members:
                    raise FieldError(f"{where or 'it'} has a member in two spellings")
                members[folded] = member
        self._members = members

    def place(self, name: str) -> str:
        """What a complaint calls the member."""
        return f"{self._where}.{name}" if self._where else name

    def text(self, name: str) -> str:
        """A string; the empty one for nothing."""
        value = self._members.get(name.lower())
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._wrong(name, value, "a string")
        return value

    def integer(self, name: str, lowest: int, highest: int) -> int:
        """An integer written as one, 0 for nothing."""
        value = self._members.get(name.lower())
        if value is None:
            return 0
        if type(value) is not int:
            raise self._wrong(name, value, "an integer")
        if not lowest <= value <= highest:
            raise FieldError(f"`{self.place(name)}` is not between {lowest} and {highest}")
        return value

    def boolean(self, name: str) -> bool:
        """True or false; false for nothing."""
        value = self._members.get(name.lower())
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self._wrong(name, value, "a boolean")
        return value

    def time(self, name: str) -> int:
        """A time in microseconds since the epoch; year 1 for nothing, as Go has it."""
        value = self._members.get(name.lower())
        if value is None:
            return YEAR_ONE
        if not isinstance(value, str):
            raise self._wrong(name, value, "a string")
        try:
            return parse_time(value)
        except ValueError as exc:
            raise FieldError(f"`{self.place(name)}`: {exc}") from None

    def array(self, name: str) -> list[Any]:
        """An array; the empty one for nothing."""
        value = self._members.get(name.lower())
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._wrong(name, value, "an array")
        return value

    def texts(self, name: str) -> list[str]:
        """An array of strings."""
        values = self.array(name)
        for value in values:
            if value is not None and not isinstance(value, str):
                raise self._wrong(name, value, "an array of strings: one")
        return [value or "" for value in values]

    def inner(self, name: str) -> "Fields":
        """An object; one without members for nothing."""
        return Fields(self._members.get(name.lower()), self.place(name))

    def value(self, name: str) -> Any:
        """What the member is, of whatever type; None for nothing."""
        return self._members.get(name.lower())

    def has(self, name: str) -> bool:
        """Whether there is something, null not counted."""
        return self._members.get(name.lower()) is not None

    def _wrong(self, name: str, value: object, wanted: str) -> FieldError:
        found = "another number" if type(value) is float and wanted == "an integer" else type_word(value)
        return FieldError(f"`{self.place(name)}` is {found}, not {wanted}")
