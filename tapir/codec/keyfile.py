"""Files that hold the secret of a TSIG key, as the tools of the field write them.

base64 alone (`openssl rand -base64 32`), BIND's `key "name" { algorithm …; secret "…"; };` (tsig-keygen), and
`algorithm:name:secret` (keymgr, kdig -k). Errors never say what stands there.
"""

import base64
import binascii
import re
from typing import Final

import attrs

from tapir.model.errors import TapirError
from tapir.model.names import Name, NameSyntaxError, parse_name

_LINE_COMMENT: Final = re.compile(r"^[ \t]*(?:#|//[ \t])[^\n]*$", re.MULTILINE)
_BLOCK: Final = re.compile(r'key\s+"?([^\s"{;]+)"?\s*\{([^{}]*)\}', re.IGNORECASE)
_STATEMENT: Final = re.compile(r'(algorithm|secret)\s+"?([^\s";]+)"?\s*;', re.IGNORECASE)
_COLONS: Final = re.compile(r"(?:([\w-]+):)?([^\s:]+):([A-Za-z0-9+/=]+)")


class KeyFileError(TapirError):
    """The text holds no secret for the key that is looked for."""


@attrs.frozen(repr=False)
class KeyText:
    """What a file says of one key; `algorithm` is None where it does not say."""

    secret: bytes
    algorithm: str | None = None


def read_key(text: str, name: Name) -> KeyText:
    """What `text` says of the key `name`; base64 alone is of whatever name. Raises KeyFileError."""
    text = _LINE_COMMENT.sub("", text).strip()
    blocks = _BLOCK.findall(text)
    if blocks:
        for found, body in blocks:
            if is_name(found, name):
                values = {word.lower(): value for word, value in _STATEMENT.findall(body)}
                if "secret" not in values:
                    raise KeyFileError("the key's block has no `secret`")
                return KeyText(_decode(values["secret"]), values.get("algorithm"))
        raise KeyFileError("it has keys, but none of that name")
    colons = _COLONS.fullmatch(text)
    if colons:
        algorithm, found, secret = colons.groups()
        if not is_name(found, name):
            raise KeyFileError("it is of a key of another name")
        return KeyText(_decode(secret), algorithm)
    return KeyText(_decode("".join(text.split())))


def is_name(text: str, name: Name) -> bool:
    """Whether `text` is how somebody writes `name`."""
    try:
        return parse_name(text) == name
    except NameSyntaxError:
        return False


def _decode(secret: str) -> bytes:
    try:
        decoded = base64.b64decode(secret, validate=True)
    except (binascii.Error, ValueError):
        raise KeyFileError("what should be the secret is not base64") from None
    if not decoded:
        raise KeyFileError("it has no secret")
    return decoded
