"""`sources`: where lists come from."""

from pathlib import Path
from typing import Final

from tapir.app.config.feeds import FeedDefaults, map_feed
from tapir.app.config.files import SourceBrakeFile, SourceFile
from tapir.app.config.observations import FORMAT, ObservationDefaults, map_observations
from tapir.app.config.policy import sayable_action
from tapir.app.config.problems import format_key
from tapir.app.config.report import Invalid, Report, Section
from tapir.app.config.settings import SourceBrakeConfig, SourceConfig
from tapir.app.config.strict import shown
from tapir.app.config.values import between, one_of, parse_action, parse_share, path_in
from tapir.model.actions import Action, ListKind
from tapir.model.messages.feeds import DERIVED
from tapir.model.messages.local import RESERVED
from tapir.model.names import Name

_WANTED_TYPE: Final = "needed is allowlist, denylist or doubtlist"
_ORIGINS: Final = ("file", "mqtt", "xfr")
_FORMATS: Final = ("domains", "csv", "dawg")
_EXACT: Final = "exact"
_MATCHES: Final = (_EXACT, "subtree")


def map_source_brake(section: Section, brake: SourceBrakeFile, default: SourceBrakeConfig) -> SourceBrakeConfig:
    """A `brake` section; what it does not say is as in `default`."""
    return SourceBrakeConfig(
        shrink=section.parse("shrink", brake.shrink, parse_share, default.shrink),
        grow=section.parse("grow", brake.grow, parse_share, default.grow),
        minimum=section.parse("minimum", brake.minimum, between(0), default.minimum),
    )


def map_sources(
    report: Report,
    sources: dict[str, SourceFile] | None,
    folder: Path,
    brake: SourceBrakeConfig,
    *,
    redirect: Name | None,
    feeds: FeedDefaults,
    observations: ObservationDefaults,
) -> tuple[SourceConfig, ...]:
    """Every entry, active or not; relative file names start at `folder`, and REDIRECT leads to `redirect`, if any."""
    if sources is None:
        report.missing(("sources",), "needed is one entry for each source, or `sources: {}` for none")
    found = tuple(
        _map_active(Section(report, ("sources", name)), name, source, folder, brake, redirect, feeds, observations)
        if source.active
        else _map_inactive(Section(report, ("sources", name)), name, source, folder, brake)
        for name, source in (sources or {}).items()
    )
    _check_names(report, found)
    return found


def _map_active(
    section: Section,
    id_: str,
    source: SourceFile,
    folder: Path,
    brake: SourceBrakeConfig,
    redirect: Name | None,
    feeds: FeedDefaults,
    observations: ObservationDefaults,
) -> SourceConfig:
    _check_id(section, id_)
    name = section.require("name", source.name, _parse_name, wanted="needed is the list's name", fallback=id_)
    kind = section.require("type", source.type, _parse_kind, wanted=_WANTED_TYPE, fallback=ListKind.DOUBT)
    origin = section.require(
        "source", source.source, one_of(*_ORIGINS), wanted="needed is file, mqtt or xfr", fallback=""
    )
    form = (source.format or "").lower()
    path = None
    supported = False
    feed = None
    observed = None
    match origin:
        case "file":
            form = section.require(
                "format", source.format, one_of(*_FORMATS), wanted="needed is domains, csv or dawg", fallback="domains"
            )
            path = _file_of(section, source.filename, folder)
            supported = True
        case "mqtt":
            observed = map_observations(section, source, folder, observations)
            form = FORMAT
            supported = True
        case "xfr":
            if form not in ("", "rpz"):
                section.warn("format", f"is not looked at: what is transferred is rpz, and not {shown(source.format)}")
            form = "rpz"
            feed = map_feed(section, source, folder, feeds)
            supported = True
        case _:
            pass  # an error is noted already
    if source.required and kind is not ListKind.ALLOW:
        section.warn("required", f"counts for allowlists only; this is a {kind.value}")
    return SourceConfig(
        id=id_,
        name=name,
        description=source.description or "",
        kind=kind,
        origin=origin,
        format=form,
        active=True,
        supported=supported,
        # Whether there are observations is up to others, so nothing waits for them unless it is said.
        required=kind is ListKind.ALLOW and (source.required is True or (source.required is None and observed is None)),
        broad=bool(source.broad),
        path=path,
        column=_column_of(section, source.column, form),
        match=section.parse("match", source.match, one_of(*_MATCHES), _EXACT),
        poll_interval=section.parse("poll-interval", source.poll_interval, between(1, unit="seconds"), _POLL),
        brake=map_source_brake(section.at("brake"), source.brake, brake),
        action=_action_of(section, source.action, kind, redirect),
        weight=_weight_of(section, source.weight, kind),
        feed=feed,
        observations=observed,
    )


def _action_of(section: Section, word: str | None, kind: ListKind, redirect: Name | None) -> Action | None:
    if word is None:
        return None
    if kind is ListKind.ALLOW:
        text = "an allowlist has no action: what is allowed is left alone, and not in the zone; take the key away"
        section.error("action", text)
        return None
    action = section.parse("action", word, parse_action, None)
    return None if action is None else sayable_action(section, action, redirect)


def _weight_of(section: Section, weight: int | None, kind: ListKind) -> int:
    if weight is not None and kind is not ListKind.DOUBT:
        section.warn("weight", f"counts for doubtlists only; this is {_ARTICLE[kind]} {kind.value}")
        return 1
    return section.parse("weight", weight, between(0, _MAX_WEIGHT), 1)


_MAX_WEIGHT: Final = 1_000_000
_ARTICLE: Final = {ListKind.ALLOW: "an", ListKind.DENY: "a", ListKind.DOUBT: "a"}


_POLL: Final = 1


def _map_inactive(
    section: Section, id_: str, source: SourceFile, folder: Path, brake: SourceBrakeConfig
) -> SourceConfig:
    """An entry that is switched off: shown, and hardly checked, so that half an entry can wait in the file."""
    _check_id(section, id_)
    if source.active is None:
        section.report.missing((*section.path, "active"), "needed is true or false")
    try:
        kind = _parse_kind(source.type or "doubtlist")
    except Invalid as exc:
        section.warn("type", str(exc))
        kind = ListKind.DOUBT
    return SourceConfig(
        id=id_,
        name=source.name or id_,
        description=source.description or "",
        kind=kind,
        origin=(source.source or "").lower(),
        format=(source.format or "").lower(),
        active=False,
        supported=False,
        required=False,
        broad=bool(source.broad),
        path=None,
        column=None,
        match=_EXACT,
        poll_interval=_POLL,
        brake=brake,
    )


def _not_supported(section: Section, key: str, kind: ListKind, what: str, allowed: str) -> None:
    if kind is ListKind.ALLOW:
        text = f"{what} are not supported by this version, and without this allowlist its names would be blocked"
        section.error(key, f"{text}; allowed is {allowed}, or `active: false`")
    else:
        text = f"{what} are not supported by this version; this {kind.value} takes no part, and nothing waits for it"
        section.warn(key, text)


def _check_id(section: Section, id_: str) -> None:
    if "/" in id_ or not id_.strip() or not id_.isprintable():
        text = "this cannot be the id of a source; allowed is any printable text without `/`"
        section.report.error(section.path, text)
    elif id_.lower().startswith(RESERVED):
        text = f"ids that begin with `{RESERVED}` are those of tapir's own lists; allowed is any other"
        section.report.error(section.path, text)
    elif id_.lower().endswith(tuple(DERIVED.values())):
        endings = " or ".join(f"`{ending}`" for ending in DERIVED.values())
        text = f"ids that end with {endings} are those of what a feed says by the way; allowed is any other"
        section.report.error(section.path, text)
    elif id_ in ("zone", "clock"):
        text = f"`tapir accept {id_}` is about the {id_}, so what the brake holds of this source cannot be accepted"
        section.report.warn(section.path, f"{text}; give it another id")


def _parse_name(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise Invalid(f"{shown(text)} cannot be a list's name; allowed is any printable text")
    return text


def _parse_kind(text: str) -> ListKind:
    return ListKind(one_of(*(kind.value for kind in ListKind))(text))


def _file_of(section: Section, filename: str | None, folder: Path) -> Path | None:
    if not filename:
        section.report.missing((*section.path, "filename"), "needed is the path of the list")
        return None
    path = section.parse("filename", filename, path_in(folder), None)
    if path is None:
        return None
    try:
        if path.is_dir():
            # What lies there may change any time, and must not keep a restarted process from serving what it stored.
            section.warn("filename", f"{path} is a folder; the source waits until it is a file")
        elif not path.exists():
            # No warning: the source itself will say that it fails, once.
            section.note("filename", f"there is no file {path} yet; the source waits for it")
    except OSError as exc:
        section.warn("filename", f"cannot look at {path} now: {exc.strerror}")
    return path


def _column_of(section: Section, column: str | None, form: str) -> str | None:
    if column is not None and form != "csv":
        section.warn("column", f"counts for files of format csv only{f'; this one is {form}' if form else ''}")
        return None
    return section.parse("column", column, _parse_column, None)


def _parse_column(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise Invalid(f"{shown(text)} cannot be the title of a column; allowed is any printable text")
    return text.strip()


def _check_names(report: Report, sources: tuple[SourceConfig, ...]) -> None:
    """The name is a list's identity in policy, so two active lists of one class cannot share it."""
    first: dict[tuple[ListKind, str], SourceConfig] = {}
    for source in filter(lambda source: source.active, sources):
        other = first.setdefault((source.kind, source.name), source)
        if other is not source:
            taken = f"{format_key(('sources', other.id))} is a {source.kind.value} of this name too"
            report.error(("sources", source.id, "name"), f"{taken}; allowed is a name of its own")
