"""JSON as one text of UTF-8 with one meaning (RFC 8259, RFC 7493): what Python's reader forgives is refused here.

Refused besides what is no JSON: another encoding, a byte order mark, NaN and the infinities, a member that an object
has twice. Numbers are int where they are written as integers, else float.
"""

import json
from typing import Any, NoReturn

from tapir.model.errors import TapirError


class JsonError(TapirError):
    """The octets are no JSON, or could be read in two ways; the text never shows a value."""


def load_json(data: bytes) -> Any:
    """The value that `data` spells. Raises JsonError, and nothing else whatever the octets."""
    try:
        return json.loads(data.decode(), object_pairs_hook=_members, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise JsonError("it is not UTF-8") from None
    except json.JSONDecodeError as exc:
        raise JsonError(f"it is no JSON: {exc.msg} at character {exc.pos}") from None
    except ValueError:  # more digits than Python turns into a number
        raise JsonError("a number has too many digits") from None
    except RecursionError:
        raise JsonError("it is nested too deeply") from None


def load_object(data: bytes) -> dict[str, Any]:
    """The object that `data` spells. Raises JsonError."""
    value = load_json(data)
    if not isinstance(value, dict):
        raise JsonError(f"it is {type_word(value)}, not an object")
    return value


def type_word(value: object) -> str:
    """What JSON calls the type of `value`."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case int() | float():
            return "a number"
        case list():
            return "an array"
        case _:
            return "an object"


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise JsonError("an object has a member twice")
    return members


def _refuse_constant(constant: str) -> NoReturn:
    raise JsonError(f"{constant} is no number in JSON")
