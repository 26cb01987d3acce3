"""From plain values to the file models, without guessing: cattrs with strict hooks.

cattrs by itself takes `"false"` for true and 5 for "5". Here a value has the type that the key wants, or it is an
error that names the type. Two spellings that the reference implementation takes, and that cannot mean anything
else, are taken too: a bool as `yes`, `no`, `on`, `off` or in quotes, and a whole number in quotes.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import IterableValidationNote
from cattrs.gen import make_dict_structure_fn, override

from tapir.app.config.files import Scalar, key_of
from tapir.app.config.problems import KeyPath
from tapir.app.config.report import Invalid, Report

T = TypeVar("T")
Hook = Callable[[object, type], object]

_BOOLS: Final = {
    **dict.fromkeys(("true", "yes", "on", "y"), True),
    **dict.fromkeys(("false", "no", "off", "n"), False),
}


def structure(report: Report, model: type[T]) -> T:
    """The document as `model`; what has the wrong type is an error, and then as if it were not given."""
    document = report.document
    try:
        return _converter.structure(document.values, model)
    except cattrs.BaseValidationError as group:
        for path, text in _flatten(group, ()):
            report.error(path, text)
            document.remove(path)
    return _converter.structure(document.values, model)


def shown(value: object) -> str:
    """`value` as the operator wrote it, more or less, and never long."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case dict():
            return "a section"
        case list():
            return "a list"
        case str():
            return f"{value!r}" if len(value) <= 60 else f"{value[:57]!r}..."
        case _:
            return str(value)


def _structure_bool(value: object, _: type) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _BOOLS:
        return _BOOLS[value.lower()]
    raise Invalid(f"{shown(value)} is neither true nor false")


def _structure_int(value: object, _: type) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdecimal() and str(int(value)) == value:
        return int(value)
    raise Invalid(f"{shown(value)} is not a whole number")


def _structure_str(value: object, _: type) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        raise Invalid(f"{shown(value)} is not text; if it is meant as text, write it in quotes")
    raise Invalid(f"{shown(value)} is not text")


def _structure_scalar(value: object, _: type) -> object:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return value
    raise Invalid(f"{shown(value)} is neither a number nor text")


def _section_hook(model: type[Any]) -> Hook:
    names = {attribute.name: override(rename=key_of(attribute)) for attribute in attrs.fields(model)}
    inner = make_dict_structure_fn(model, _converter, **names)  # type: ignore[arg-type]

    def hook(value: object, kind: type) -> object:
        if value is not None and not isinstance(value, dict):
            raise Invalid(f"{shown(value)} is not a section; a section holds `key: value` lines")
        return inner(value or {}, kind)

    return hook


def _list_hook(kind: type[Any]) -> Hook:
    (item, _) = get_args(kind)

    def hook(value: object, _: type) -> object:
        if isinstance(value, dict):
            raise Invalid("a section is not a list")
        if not isinstance(value, list):
            # The reference implementation takes a lone word for a list of one.
            return (_converter.structure(value, item),)
        return tuple(_structure_each(enumerate(value), item).values())

    return hook


def _entries_hook(kind: type[Any]) -> Hook:
    (_, item) = get_args(kind)

    def hook(value: object, _: type) -> object:
        if not isinstance(value, dict):
            raise Invalid(f"{shown(value)} is not a section; it holds one entry for each id")
        return _structure_each(value.items(), item)

    return hook


def _structure_each(elements: Iterable[tuple[Any, object]], item: Any) -> dict[Any, object]:
    structured: dict[Any, object] = {}
    faults: list[Exception] = []
    for index, element in elements:
        try:
            structured[index] = _converter.structure(element, item)
        except (Invalid, cattrs.BaseValidationError) as exc:
            exc.add_note(IterableValidationNote("", index, item))
            faults.append(exc)
    if faults:
        raise cattrs.IterableValidationError("entries", faults, item)
    return structured


def _flatten(group: BaseException, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Each single complaint in `group` with its path, which cattrs leaves in the notes."""
    if isinstance(group, cattrs.ClassValidationError):
        fields = attrs.fields_dict(group.cl)
        for exc, note in group.group_exceptions()[0]:
            yield from _flatten(exc, (*path, key_of(fields[note.name])))
    elif isinstance(group, cattrs.IterableValidationError):
        for exc, index in group.group_exceptions()[0]:
            yield from _flatten(exc, (*path, index.index))
    elif isinstance(group, Invalid):
        yield path, str(group)
    else:
        raise group


def _origin(kind: Any) -> object:
    return get_origin(kind)


_converter = cattrs.Converter(detailed_validation=True)
_converter.register_structure_hook(bool, _structure_bool)
_converter.register_structure_hook(int, _structure_int)
_converter.register_structure_hook(str, _structure_str)
_converter.register_structure_hook_func(lambda kind: kind is Scalar, _structure_scalar)
_converter.register_structure_hook_func(lambda kind: kind is object, lambda value, _: value)
_converter.register_structure_hook_factory(attrs.has, _section_hook)
_converter.register_structure_hook_factory(lambda kind: _origin(kind) is tuple, _list_hook)
_converter.register_structure_hook_factory(lambda kind: _origin(kind) is dict, _entries_hook)
