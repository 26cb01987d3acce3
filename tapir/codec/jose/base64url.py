"""base64url as JOSE has it (RFC 7515 §2): no padding, no white space, and one text for one value."""

import base64
import re
from typing import Final

_TEXT: Final = re.compile(rb"[A-Za-z0-9_-]*\Z")
_PADDING: Final = (b"", None, b"==", b"=")


def decode_base64url(text: bytes) -> bytes | None:
    """The octets that `text` stands for; None where it is not what an encoder would write for them."""
    padding = _PADDING[len(text) % 4]
    if padding is None or not _TEXT.match(text):
        return None
    octets = base64.urlsafe_b64decode(text + padding)
    return octets if encode_base64url(octets) == text else None  # else it has spare bits that are not 0


def encode_base64url(octets: bytes) -> bytes:
    """`octets` as base64url without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=")
