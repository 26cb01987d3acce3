"""Keys that nobody knows: a warning each, with the nearest key that somebody does."""

import difflib
from types import UnionType
from typing import Any, Final, get_args, get_origin

import attrs

from tapir.app.config.files import Files, key_of
from tapir.app.config.problems import KeyPath, format_key
from tapir.app.config.report import Report


def warn_of_unknown_keys(report: Report) -> None:
    """Warn of each key in the document that `Files` does not have."""
    _walk(report, report.document.values, Files, ())


def _walk(report: Report, value: object, kind: Any, path: KeyPath) -> None:
    if get_origin(kind) is tuple and isinstance(value, list):
        for index, item in enumerate(value):
            _walk(report, item, _section_of(get_args(kind)[0]), (*path, index))
    if not isinstance(value, dict):
        return
    if get_origin(kind) is dict:
        for entry, content in value.items():
            _walk(report, content, get_args(kind)[1], (*path, entry))
    elif attrs.has(kind):
        known = _keys(kind)
        for key, content in value.items():
            if key in known:
                _walk(report, content, known[key], (*path, key))
            else:
                report.warn((*path, key), f"unknown key, ignored{_hint(key, path, known)}")


def _keys(model: type[Any]) -> dict[str, Any]:
    return {key_of(attribute): _section_of(attribute.type) for attribute in attrs.fields(model)}


def _section_of(kind: Any) -> Any:
    """The kind of section that `kind` admits, if any."""
    if isinstance(kind, UnionType):
        return next((_section_of(member) for member in get_args(kind) if member is not type(None)), None)
    return kind


def _hint(key: str, path: KeyPath, known: dict[str, Any]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.7)
    if near:
        return f"; did you mean `{near[0]}`?"
    elsewhere = [place for place in _PLACES.get(key, ()) if place != path]
    if len(elsewhere) == 1:
        return f"; did you mean `{format_key((*elsewhere[0], key))}`?"
    known_here = ", ".join(sorted(known))
    return f"; known in {format_key(path)}: {known_here}" if path and len(known_here) < 120 else ""


def _places(model: type[Any], path: KeyPath, found: dict[str, list[KeyPath]]) -> dict[str, list[KeyPath]]:
    for key, kind in _keys(model).items():
        found.setdefault(key, []).append(path)
        if attrs.has(kind):
            _places(kind, (*path, key), found)
        elif get_origin(kind) is dict:
            _places(get_args(kind)[1], (*path, key, "ID"), found)
    return found


_PLACES: Final = _places(Files, (), {})
"""Each key, and the sections that have it: for a key that is right but stands in the wrong section."""
