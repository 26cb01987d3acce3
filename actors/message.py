"""What a message is to the runtime: an opaque value with a class, of which only `describe` is ever shown."""

from typing import Generic, TypeVar

R_co = TypeVar("R_co", covariant=True)


class Request(Generic[R_co]):
    """Base of messages that are asked; `class GetZone(Request[ZoneStatus])` makes `ask` return a ZoneStatus."""

    __slots__ = ()


def is_private(message: object) -> bool:
    """True when the message's class is marked `private = True`: nothing of it is kept anywhere."""
    return getattr(type(message), "private", None) is True


def describe(message: object) -> str:
    """The payload-free form of a message: its class, with its `summary()` or its length where it has one.

    `summary()` is the message's own word that it says nothing private.
    """
    kind = type(message)
    if is_private(message):
        return "(private)"
    try:
        if callable(summary := getattr(message, "summary", None)):
            return f"{kind.__name__} {summary()}"
        return f"{kind.__name__} len={len(message)}" if hasattr(kind, "__len__") else kind.__name__  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - a message that cannot describe itself must not harm who looks at it
        return kind.__name__
