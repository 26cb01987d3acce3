r"""Canonical order (RFC 4034 §6.1) as a sort key of plain bytes.

The key is the labels from the right, each closed by a zero octet: `www.example.` is `example\0www\0`. What
lies at or below a name is then exactly what begins with the name's key, so a subtree is a range and an empty
non-terminal is seen from its neighbour. Labels may hold octets 0 and 1 themselves; they become two octets
(0 → 1 1, 1 → 1 2), which keeps the order and frees 0 for closing.
"""

from tapir.model.names import Name


def order_key(name: Name) -> bytes:
    """The key by which names stand in canonical order."""
    labels = []
    position = 0
    while length := name[position]:
        end = position + 1 + length
        labels.append(name[position + 1 : end])
        position = end
    if not labels:
        return b""
    labels.reverse()
    key = b"\0".join(labels) + b"\0"
    if b"\1" in key or key.count(0) != len(labels):
        return b"".join(_escape(label) + b"\0" for label in labels)
    return key


def _escape(label: bytes) -> bytes:
    return label.replace(b"\1", b"\1\2").replace(b"\0", b"\1\1")
