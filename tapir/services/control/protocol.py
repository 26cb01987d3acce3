"""The console's protocol: JSON objects over WebSocket, documented in docs/console.md.

A client sends `{"id": 1, "op": "status", …}` and gets `{"id": 1, "result": …}` or
`{"id": 1, "error": {"code": …, "text": …}}`. What it subscribes to arrives as `{"stream": 1, "data": …}`, where
1 is the id of the request that subscribed.
"""

import enum
import json
from collections.abc import Mapping
from typing import Any, Final

import attrs

from tapir.model.errors import TapirError

PROTOCOL: Final = 1
PATH: Final = "/v1"
MAX_REQUEST: Final = 64 * 1024


class ProtocolError(TapirError):
    """The client sent something that is no request of this protocol."""

    def __init__(self, *, code: str, text: str, request_id: int | str | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.request_id = request_id


@attrs.frozen(kw_only=True)
class ConsoleRequest:
    """One request: what is wanted, under which id, with which arguments."""

    id: int | str
    op: str
    arguments: Mapping[str, Any] = attrs.field(eq=False)

    def text(self, key: str) -> str:
        """The argument `key`, a non-empty string. Raises ProtocolError."""
        value = self.arguments.get(key)
        if not isinstance(value, str) or not value:
            raise ProtocolError(
                code="arguments", text=f"{self.op} needs {key}: a string that is not empty", request_id=self.id
            )
        return value

    def integer(self, key: str, *, lowest: int, highest: int, default: int | None = None) -> int:
        """The argument `key`, an integer in its range. Raises ProtocolError."""
        value = self.arguments.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            raise ProtocolError(
                code="arguments",
                text=f"{self.op} needs {key}: an integer from {lowest} to {highest}",
                request_id=self.id,
            )
        return value


def parse_request(message: str | bytes) -> ConsoleRequest:
    """The request in one WebSocket message. Raises ProtocolError."""
    try:
        document = json.loads(message)
    except (ValueError, RecursionError) as exc:
        raise ProtocolError(code="json", text="the message is not JSON") from exc
    if not isinstance(document, dict):
        raise ProtocolError(code="json", text="the message is not a JSON object")
    request_id = document.pop("id", None)
    if isinstance(request_id, bool) or not isinstance(request_id, int | str):
        raise ProtocolError(code="id", text="a request needs an id: an integer or a string")
    op = document.pop("op", None)
    if not isinstance(op, str):
        raise ProtocolError(code="op", text="a request needs an op: a string", request_id=request_id)
    return ConsoleRequest(id=request_id, op=op, arguments=document)


# All that is rendered is ASCII: JSON may hold half of a surrogate pair (an id of a client, a path on disk that is not
# UTF-8), which escaped is still JSON, and as itself cannot be sent.


def render_result(request_id: int | str, result: object) -> str:
    """The answer to the request `request_id`."""
    return json.dumps({"id": request_id, "result": to_plain(result)})


def render_error(error: ProtocolError) -> str:
    """The refusal of a request; its id is null when it could not be read."""
    return json.dumps({"id": error.request_id, "error": {"code": error.code, "text": str(error)}})


def render_stream(request_id: int | str, data: object, *, lost: int = 0) -> str:
    """One item of what the request `request_id` subscribed to; `lost` items were skipped for a slow reader."""
    return json.dumps({"stream": request_id, "data": to_plain(data), "lost": lost})


def to_plain(value: object) -> Any:
    """`value` as what JSON can say: attrs classes as objects with their class as `type` where it is an event.

    Raises TypeError on anything that has no business in a status: bytes, handles, callables.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value.label if isinstance(value, enum.IntEnum) and hasattr(value, "label") else value
    if isinstance(value, enum.Enum):
        return value.value if isinstance(value.value, str) else value.name.lower()
    kind = type(value)
    if attrs.has(kind):
        return {field.name: to_plain(getattr(value, field.name)) for field in attrs.fields(kind)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(item) for item in value]
    raise TypeError(f"a {type(value).__name__} has no place in the console's protocol")
