"""The status document of a POP: `TapirFunctionStatus` as Go writes it (pop.md §8.2), with members of ours behind.

    {"Function":"tapir-pop","FunctionID":"…","ComponentStatus":{"rpz":{"Component":"","Status":2,"ErrorMsg":"",
     "WarningMsg":"","Msg":"…","NumFails":0,"NumWarnings":0,"LastFail":"0001-01-01T00:00:00Z","LastWarn":"…",
     "LastSuccess":"…"}},"NumFailures":0,"LastFailure":"0001-01-01T00:00:00Z",
     "Version":"…","Time":"…","Counters":{"…":1},
     "Events":[{"Id":"…","Kind":"source-held","Subject":"…","Text":"…","At":"…","ClearedAt":"0001-01-01T00:00:00Z"}]}

Upstream's reader ignores the last four. A time of nothing is Go's, the beginning of year 1. It is read as Go reads it:
members in any case, unknown ones ignored.
"""

import json
from typing import Any, Final

from tapir.codec.gojson import FieldError, Fields
from tapir.codec.rfc3339 import LAST, YEAR_ONE, format_time
from tapir.codec.strictjson import JsonError, load_object, type_word
from tapir.model.errors import TapirError
from tapir.model.messages.events import EventKind, ExceptionalEvent
from tapir.model.messages.telemetry import ComponentState, ComponentStatus, FunctionStatus

MAX_PAYLOAD: Final = 1 << 20
MAX_COMPONENTS: Final = 100
MAX_EVENTS: Final = 1000
MAX_COUNTERS: Final = 1000

_MOST: Final = (1 << 63) - 1
_KINDS: Final = frozenset(kind.value for kind in EventKind)
# encoding/json makes its text safe to stand in HTML; so the octets are the same as Go's.
_ESCAPED: Final = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})


class FunctionStatusError(TapirError):
    """The document is no status; the text says where, and shows no value."""


def encode_function_status(status: FunctionStatus, *, additions: bool = True) -> bytes:
    """`status` as compact JSON, without a line end; without `additions` only what upstream has."""
    document: dict[str, Any] = {
        "Function": status.function,
        "FunctionID": status.id,
        "ComponentStatus": {name: _plain_component(component) for name, component in sorted(status.components)},
        "NumFailures": status.failures,
        "LastFailure": _time(status.failed_at),
    }
    if additions:
        document |= {
            "Version": status.version,
            "Time": _time(status.at),
            "Counters": dict(sorted(status.counters)),
            "Events": [_plain_event(event) for event in status.events],
        }
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_ESCAPED).encode("utf-8", "replace")


def parse_function_status(payload: bytes) -> FunctionStatus:
    """The status that `payload` tells; events of kinds that are not known are left out. Raises FunctionStatusError."""
    if len(payload) > MAX_PAYLOAD:
        raise FunctionStatusError(f"it has {len(payload)} octets, {MAX_PAYLOAD} are allowed")
    try:
        fields = Fields(load_object(payload))
        return _parse(fields)
    except (JsonError, FieldError) as exc:
        raise FunctionStatusError(str(exc)) from None


def _plain_component(component: ComponentStatus) -> dict[str, Any]:
    return {
        "Component": "",
        "Status": int(component.state),
        "ErrorMsg": component.error,
        "WarningMsg": component.warning,
        "Msg": component.message,
        "NumFails": component.failures,
        "NumWarnings": component.warnings,
        "LastFail": _time(component.failed_at),
        "LastWarn": _time(component.warned_at),
        "LastSuccess": _time(component.succeeded_at),
    }


def _plain_event(event: ExceptionalEvent) -> dict[str, Any]:
    return {
        "Id": event.id,
        "Kind": event.kind.value,
        "Subject": event.subject,
        "Text": event.text,
        "At": _time(event.at),
        "ClearedAt": _time(event.cleared_at),
    }


def _time(microseconds: int | None) -> str:
    return format_time(YEAR_ONE if microseconds is None else min(max(microseconds, YEAR_ONE), LAST))


def _parse(fields: Fields) -> FunctionStatus:
    components = _members(fields, "ComponentStatus", MAX_COMPONENTS)
    counters = _members(fields, "Counters", MAX_COUNTERS)
    events = fields.array("Events")
    if len(events) > MAX_EVENTS:
        raise FieldError(f"`Events` has {len(events)} entries, {MAX_EVENTS} are allowed")
    entries = [Fields(event, f"Events[{index}]") for index, event in enumerate(events)]
    at = fields.time("Time")
    return FunctionStatus(
        function=fields.text("Function"),
        id=fields.text("FunctionID"),
        components=tuple(sorted((name, _parse_component(Fields(value, name))) for name, value in components.items())),
        failures=fields.integer("NumFailures", 0, _MOST),
        failed_at=_or_none(fields.time("LastFailure")),
        version=fields.text("Version"),
        at=_or_none(at),
        counters=tuple(sorted((name, _count(name, value)) for name, value in counters.items())),
        events=tuple(_parse_event(entry) for entry in entries if entry.text("Kind") in _KINDS),
    )


def _parse_component(fields: Fields) -> ComponentStatus:
    state = fields.integer("Status", 0, ComponentState.OK)
    return ComponentStatus(
        state=ComponentState(state),
        error=fields.text("ErrorMsg"),
        warning=fields.text("WarningMsg"),
        message=fields.text("Msg"),
        failures=fields.integer("NumFails", 0, _MOST),
        warnings=fields.integer("NumWarnings", 0, _MOST),
        failed_at=_or_none(fields.time("LastFail")),
        warned_at=_or_none(fields.time("LastWarn")),
        succeeded_at=_or_none(fields.time("LastSuccess")),
    )


def _parse_event(fields: Fields) -> ExceptionalEvent:
    return ExceptionalEvent(
        id=fields.text("Id"),
        kind=EventKind(fields.text("Kind")),
        subject=fields.text("Subject"),
        text=fields.text("Text"),
        at=fields.time("At"),
        cleared_at=_or_none(fields.time("ClearedAt")),
    )


def _members(fields: Fields, name: str, most: int) -> dict[str, Any]:
    """An object whose members are names of their own; the empty one for nothing."""
    value = fields.value(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise FieldError(f"`{name}` is {type_word(value)}, not an object")
    if len(value) > most:
        raise FieldError(f"`{name}` has {len(value)} members, {most} are allowed")
    return value


def _count(name: str, value: object) -> int:
    if type(value) is not int or not 0 <= value <= _MOST:
        raise FieldError(f"the counter `{name[:100]}` is no count")
    return value


def _or_none(time: int) -> int | None:
    return None if time == YEAR_ONE else time
