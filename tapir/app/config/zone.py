"""`services.rpz`: the output zone."""

from collections.abc import Callable
from typing import Any, Final

from tapir.app.config.files import RpzFile
from tapir.app.config.report import Invalid, Report, Section
from tapir.app.config.settings import ZoneBrakeConfig
from tapir.app.config.values import between, parse_domain, parse_share
from tapir.model.actions import ListKind
from tapir.model.names import Name, format_name, parse_name
from tapir.policy.overrides import OverrideError, admitted_names
from tapir.services.sources.suffixes import load_suffix_test
from tapir.zone.errors import ZoneError
from tapir.zone.settings import ZoneSettings

_PATH: Final = ("services", "rpz")
_MAX_TIME: Final = (1 << 31) - 1  # RFC 2181 §8
_STAND_IN: Final = ZoneSettings(name=parse_name("zone.invalid."))


def map_zone(report: Report, rpz: RpzFile) -> ZoneSettings:
    """The zone's apex and limits; where a value is wrong, some other stands in until the faults are raised."""
    section = Section(report, _PATH)
    bare = section.require(
        "zonename",
        rpz.zonename,
        lambda text: _checked(name=parse_domain(text)),
        wanted="needed is the name of the output zone, such as dnstapir.",
        fallback=_STAND_IN,
    )
    seconds, positive = between(0, _MAX_TIME, unit="seconds"), between(1, _MAX_TIME, unit="seconds")
    soa, journal = section.at("soa"), section.at("journal")
    return ZoneSettings(
        name=bare.name,
        mname=soa.parse("mname", rpz.soa.mname, parse_domain, bare.mname),
        rname=soa.parse("rname", rpz.soa.rname, parse_domain, bare.rname),
        refresh=soa.parse("refresh", rpz.soa.refresh, positive, bare.refresh),
        retry=soa.parse("retry", rpz.soa.retry, positive, bare.retry),
        expire=soa.parse("expire", rpz.soa.expire, positive, bare.expire),
        minimum=soa.parse("minimum", rpz.soa.minimum, seconds, bare.minimum),
        ttl=section.parse("ttl", rpz.ttl, seconds, bare.ttl),
        ns=_name_servers(section, rpz.ns, bare),
        redirect=section.parse("redirect", rpz.redirect, _redirect_of(bare.name), None),
        journal_max_octets=journal.parse("max-size", rpz.journal.max_size, between(1), bare.journal_max_octets),
        journal_max_age=journal.parse("max-age", rpz.journal.max_age, between(1), bare.journal_max_age),
        journal_max_deltas=journal.parse("max-deltas", rpz.journal.max_deltas, between(1), bare.journal_max_deltas),
    )


def map_zone_brake(report: Report, rpz: RpzFile) -> ZoneBrakeConfig:
    """Which change of the zone is held back."""
    section = Section(report, (*_PATH, "brake"))
    return ZoneBrakeConfig(
        change=section.parse("change", rpz.brake.change, parse_share, 0.25),
        minimum=section.parse("minimum", rpz.brake.minimum, between(0), 1000),
    )


def map_canary(report: Report, rpz: RpzFile, zone: ZoneSettings) -> Name | None:
    """The name that is always in the zone, if there is to be one: a name that a denylist could hold."""

    def parse(text: str) -> Name:
        name = parse_domain(text)
        try:
            admitted_names(format_name(name), ListKind.DENY, zone=zone.name, is_public_suffix=load_suffix_test())
        except OverrideError as exc:
            raise Invalid(f"{exc}; allowed is a name of yours that nobody needs") from exc
        return name

    return Section(report, _PATH).parse("canary", rpz.canary, parse, None)


def _name_servers(section: Section, ns: tuple[str | None, ...] | None, bare: ZoneSettings) -> tuple[Name, ...]:
    names = section.parse_each("ns", ns, parse_domain, wanted="an item is the name of a name server")
    return section.parse("ns", names or None, lambda servers: _checked(name=bare.name, ns=servers).ns, bare.ns)


def _redirect_of(apex: Name) -> Callable[[str], Name]:
    def parse(text: str) -> Name:
        target = parse_domain(text)
        _checked(name=apex, redirect=target)
        return target

    return parse


def _checked(**values: Any) -> ZoneSettings:
    """The settings with these `values`, which are checked where the zone defines what it can be."""
    try:
        return ZoneSettings(**values)
    except ZoneError as exc:
        raise Invalid(str(exc)) from exc
