"""Operations of version 2 as data, and the OpenAPI description that is made of them: it cannot say anything else."""

import enum
import types
import typing
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import attrs
from starlette.requests import Request

from tapir.services.control.api_desk import Desk
from tapir.services.control.protocol import ConsoleRequest, ProtocolError

Handler = Callable[[Desk, ConsoleRequest, Request], Awaitable[object]]


@attrs.frozen(kw_only=True)
class Parameter:
    """An argument in the path, the query or the body."""

    name: str
    text: str
    integer: bool = False
    required: bool = False

    def read(self, text: str) -> str | int:
        """What `text` in a query says. Raises ProtocolError."""
        if not self.integer:
            return text
        if not text.isascii() or not text.isdecimal() or len(text) > 19:
            raise ProtocolError(code="arguments", text=f"{self.name} is not a whole number")
        return int(text)

    def schema(self) -> dict[str, Any]:
        """Its type."""
        return {"type": "integer" if self.integer else "string", "description": self.text}


@attrs.frozen(kw_only=True)
class Operation:
    """One method of one path; `{name}` in the path is a parameter of `in_path`. `result` is what is answered."""

    method: str
    path: str
    name: str
    text: str
    handler: Handler
    in_path: tuple[Parameter, ...] = ()
    query: tuple[Parameter, ...] = ()
    body: tuple[Parameter, ...] = ()
    result: Any = dict


def match(operations: Iterable[Operation], path: str) -> dict[str, tuple[Operation, dict[str, str]]]:
    """The operations at `path` by their methods, with the parameters that it holds."""
    found: dict[str, tuple[Operation, dict[str, str]]] = {}
    parts = path.split("/")
    for operation in operations:
        pattern = operation.path.split("/")
        if len(pattern) == len(parts) and all(
            there == here or (there.startswith("{") and here) for there, here in zip(pattern, parts, strict=True)
        ):
            values = {there[1:-1]: here for there, here in zip(pattern, parts, strict=True) if there.startswith("{")}
            found.setdefault(operation.method, (operation, values))
    return found


def describe(operations: Iterable[Operation], *, prefix: str, version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    schemas: dict[str, Any] = {"Problem": _PROBLEM}
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(prefix + operation.path, {})[operation.method.lower()] = _describe(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tapir POP management",
            "version": version,
            "description": "Times are microseconds since the epoch in UTC, null for never.",
        },
        "security": [{"key": []}, {"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
            "schemas": schemas,
        },
    }


def _describe(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    problem = {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    document: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.text,
        "responses": {
            "200": {
                "description": "As asked.",
                "content": {"application/json": {"schema": schema_of(operation.result, schemas)}},
            },
            "default": {"description": "What went wrong.", **problem},
        },
    }
    parameters = [
        {"name": each.name, "in": place, "required": place == "path", "schema": each.schema()}
        for place, those in (("path", operation.in_path), ("query", operation.query))
        for each in those
    ]
    if parameters:
        document["parameters"] = parameters
    if operation.body:
        document["requestBody"] = {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "properties": {each.name: each.schema() for each in operation.body},
                        "required": [each.name for each in operation.body if each.required],
                        "additionalProperties": False,
                    }
                }
            },
        }
    return document


_PROBLEM: Final = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
    "required": ["type", "title", "status", "detail"],
}
_SIMPLE: Final = {bool: "boolean", int: "integer", float: "number", str: "string", types.NoneType: "null"}


def schema_of(kind: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """The schema of what `to_plain` makes of a value of `kind`; attrs classes go to `schemas`, under their name."""
    if kind in _SIMPLE:
        return {"type": _SIMPLE[kind]}
    if attrs.has(kind):
        _add(kind, schemas)
        return {"$ref": f"#/components/schemas/{kind.__name__}"}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"type": "string", "enum": [_word(member) for member in kind]}
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [schema_of(each, schemas) for each in arguments]}
    if origin is tuple and arguments[-1:] == (Ellipsis,):
        return {"type": "array", "items": schema_of(arguments[0], schemas)}
    if origin is tuple:
        items = [schema_of(each, schemas) for each in arguments]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    return {"type": "object"}


def _word(member: enum.Enum) -> str:
    label = getattr(member, "label", None)
    return label if isinstance(label, str) else str(member.value)


def _add(kind: Any, schemas: dict[str, Any]) -> None:
    if kind.__name__ in schemas:
        return
    schemas[kind.__name__] = {}  # a class may hold its like
    hints = typing.get_type_hints(kind)
    fields = attrs.fields(kind)
    schemas[kind.__name__] = {
        "type": "object",
        "description": (kind.__doc__ or "").split("\n\n")[0].replace("\n    ", " "),
        "properties": {field.name: schema_of(hints[field.name], schemas) for field in fields},
        "required": [field.name for field in fields],
    }
