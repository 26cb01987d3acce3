"""From `dnstapir-edm.toml`, `tapir-edm.toml`, the environment and the command line to an `EdmConfig`, or to all faults.

The command line counts more than the environment (`DNSTAPIR_EDM_INPUT_UNIX`), that more than the files, and those more
than the defaults. A key that nobody knows is a fault, as in the existing EDM; ours have a file of their own therefore.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

from tapir.app.config.edmfile import TomlFile, read_toml_file
from tapir.app.config.edmkeys import OWN_FILE, UPSTREAM_FILE, Key, read_text, read_toml
from tapir.app.config.edmrules import INPUTS, check_rules
from tapir.app.config.edmsettings import KEYS, EdmConfig
from tapir.app.config.problems import ConfigErrors, Fault, Notice, Place
from tapir.app.config.report import Invalid

PREFIX: Final = "DNSTAPIR_EDM_"
_CONFIG_FILE: Final = "config-file"
_KEY: Final = "cryptopan-key"
_SHORT: Final = 12
"""characters of a key below which somebody may try them all"""
_CLEAR: Final = (
    ("http-url", "disable-histogram-sender", ("http://",), "histograms", "https://"),
    ("mqtt-server", "disable-mqtt", ("mqtt://", "tcp://"), "new names", "mqtts://"),
)
"""keys whose URL may say that something goes without TLS, and what"""
_ENVIRONMENT: Final = Place(Path("environment"))
COMMAND_LINE: Final = Place(Path("command line"))


@attrs.frozen(kw_only=True)
class _Written:
    """A value as it was given, not yet looked at; `folder` is where relative paths start."""

    value: object = attrs.field(repr=False)
    is_text: bool
    """whether it is from the environment or the command line"""
    place: Place
    name: str
    """the key as it is called there"""
    folder: Path


def load_edm(config_file: Path, *, environment: Mapping[str, str], flags: Mapping[str, str] | None = None) -> EdmConfig:
    """The configuration that `config_file` and `tapir-edm.toml` beside it make, with what overrides them.

    `flags` are from the command line, by key, without the dashes. Relative paths of the files start at their folder,
    those of the environment and the command line where the process is. Raises ConfigErrors with every fault. Blocks as
    long as the file system does; looks at no file but these two.
    """
    config_file = config_file.absolute()
    upstream = read_toml_file(config_file, needed=True)
    own = read_toml_file(config_file.parent / OWN_FILE, needed=False)
    faults = [file.fault for file in (upstream, own) if file.fault is not None]
    faults += [fault for file in (upstream, own) for fault in _unknown_in(file, own=file is own)]
    faults += _unknown_flags(flags or {})
    written = _collect(upstream, own, environment, flags or {})
    values: dict[str, object] = {}
    broken: set[str] = set()
    for name, key in KEYS.items():
        given = written.get(name)
        try:
            values[name] = _value(key, given, upstream.path.parent)
        except Invalid as exc:
            if given is None:
                raise  # a default that is not allowed
            broken.add(name)
            faults.append(Fault(place=given.place, key=given.name, text=str(exc)))
            values[name] = key.parse(key.default, upstream.path.parent)
    if upstream.fault is None and own.fault is None:
        faults += _broken_rules(values, written, broken, upstream)
    notices = (
        *_weak_key(values, written),
        *_notices(written),
        *_idle(values, written),
        *_in_clear(values, written),
        *_unknown_variables(environment),
    )
    if faults:
        order = (upstream.path, own.path, _ENVIRONMENT.file, COMMAND_LINE.file)
        faults.sort(key=lambda fault: (order.index(fault.place.file), fault.place.line))
        raise ConfigErrors(errors=tuple(faults), notices=notices)
    return _configured(config_file, values, notices)


def edm_variable(name: str) -> str:
    """How the environment calls the key `name`."""
    return PREFIX + name.upper().replace("-", "_")


def _configured(config_file: Path, values: Mapping[str, object], notices: tuple[Notice, ...]) -> EdmConfig:
    fields = {name.replace("-", "_"): value for name, value in values.items()}
    make: Callable[..., EdmConfig] = EdmConfig
    return make(config_file=config_file, notices=notices, **fields)


def _collect(
    upstream: TomlFile, own: TomlFile, environment: Mapping[str, str], flags: Mapping[str, str]
) -> dict[str, _Written]:
    """What is given of each key, by who counts most."""
    found: dict[str, _Written] = {}
    here = Path.cwd()
    for name, key in KEYS.items():
        file = own if key.own else upstream
        variable = edm_variable(name)
        if key.variable and name in flags:
            found[name] = _Written(value=flags[name], is_text=True, place=COMMAND_LINE, name=f"--{name}", folder=here)
        elif key.variable and variable in environment:
            found[name] = _Written(
                value=environment[variable], is_text=True, place=_ENVIRONMENT, name=variable, folder=here
            )
        elif name in file.values:
            found[name] = _Written(
                value=file.values[name], is_text=False, place=file.place_of(name), name=name, folder=file.path.parent
            )
    return found


def _value(key: Key, given: _Written | None, folder: Path) -> object:
    if given is None:
        return key.parse(key.default, folder)
    raw = read_text(key, str(given.value)) if given.is_text else read_toml(key, given.value)
    return key.parse(raw, given.folder)


def _broken_rules(
    values: Mapping[str, object], written: Mapping[str, _Written], broken: set[str], upstream: TomlFile
) -> Iterator[Fault]:
    for rule in check_rules(_configured(upstream.path, values, ())):
        related = INPUTS if rule.key in INPUTS else (rule.key,)
        if broken.intersection(related):
            continue  # what is wrong there is said already
        given = written.get(rule.key)
        yield Fault(
            place=Place(upstream.path) if given is None else given.place,
            key=rule.key if given is None else given.name,
            text=rule.text,
        )


def _unknown_in(file: TomlFile, *, own: bool) -> Iterator[Fault]:
    for name, value in file.values.items():
        key = KEYS.get(name)
        if name == _CONFIG_FILE and not own and isinstance(value, str):
            continue  # as in the existing EDM: allowed there, and it says nothing
        if key is None:
            text = f"unknown key{_hint(name)}"
        elif key.own != own:
            text = f"this key belongs into {OWN_FILE if key.own else UPSTREAM_FILE}"
        else:
            continue
        shown = name if name.isprintable() and len(name) <= 60 else ascii(name[:60])
        yield Fault(place=file.place_of(name), key=shown, text=text)


def _unknown_flags(flags: Mapping[str, str]) -> Iterator[Fault]:
    for name in flags:
        if name not in KEYS:
            yield Fault(place=COMMAND_LINE, key=f"--{name}", text=f"unknown flag{_hint(name)}")
        elif not KEYS[name].variable:
            yield Fault(place=COMMAND_LINE, key=f"--{name}", text="this key stands in the file only")


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[Notice]:
    known = {edm_variable(name) for name, key in KEYS.items() if key.variable}
    for variable in environment:
        if variable.startswith(PREFIX) and variable not in known:
            text = "this says nothing: it is no key that the environment has"
            yield Notice(place=_ENVIRONMENT, key=variable, text=text, warning=True)


def _weak_key(values: Mapping[str, object], written: Mapping[str, _Written]) -> Iterator[Notice]:
    key, given = values[_KEY], written.get(_KEY)
    if given is not None and isinstance(key, str) and 0 < len(key) < _SHORT:
        text = "it is short: who guesses it can undo all pseudonyms; `openssl rand -base64 32` makes a better one"
        yield Notice(place=given.place, key=given.name, text=text, warning=True)


def _notices(written: Mapping[str, _Written]) -> Iterator[Notice]:
    for name in ("debug-enable-blockprofiling", "debug-enable-mutexprofiling"):
        if name in written:
            text = "this profiles the Go runtime, which is not here, and so does nothing"
            yield Notice(place=written[name].place, key=written[name].name, text=text, warning=False)


def _idle(values: Mapping[str, object], written: Mapping[str, _Written]) -> Iterator[Notice]:
    given = written.get("telemetry-topic")
    if given is not None and values["telemetry-topic"] and values["disable-mqtt"]:
        text = "nothing is published there: disable-mqtt is set"
        yield Notice(place=given.place, key=given.name, text=text, warning=True)


def _in_clear(values: Mapping[str, object], written: Mapping[str, _Written]) -> Iterator[Notice]:
    for name, unless, schemes, what, better in _CLEAR:
        given, value = written.get(name), str(values[name]).lower()
        if given is not None and not values[unless] and value.startswith(schemes):
            text = f"{what} go there in clear, and nobody proves who it is; {better} does both"
            yield Notice(place=given.place, key=given.name, text=text, warning=True)


def _hint(name: str) -> str:
    near = difflib.get_close_matches(name, KEYS, n=1, cutoff=0.7) if len(name) <= 60 else []
    return f"; did you mean `{near[0]}`?" if near else ""
