"""What the operator decides about the zone: its apex, and how much of its past is kept."""

import attrs

from tapir.codec.rpz import action_of
from tapir.model.actions import Action
from tapir.model.names import MAX_NAME, ROOT, Name, format_name, is_below
from tapir.zone.errors import ZoneError

_MAX_TTL = (1 << 31) - 1  # RFC 2181 §8
_MAX_NS = 16  # keeps the apex far below one message


def _in_range(instance: "ZoneSettings", attribute: "attrs.Attribute[int]", value: int) -> None:
    if not 0 <= value <= _MAX_TTL:
        raise ZoneError(f"{attribute.name} of the zone is {value}: allowed are 0 to {_MAX_TTL} seconds")


def _positive(instance: "ZoneSettings", attribute: "attrs.Attribute[int]", value: int) -> None:
    if value < 1:
        raise ZoneError(f"{attribute.name} of the zone is {value}: allowed is 1 or more")


def _is_apex(instance: "ZoneSettings", attribute: "attrs.Attribute[Name]", value: Name) -> None:
    if value == ROOT:
        raise ZoneError("the root cannot be an RPZ zone: RPZ triggers need a name of their own")
    if len(value) > MAX_NAME - 4:
        raise ZoneError(
            f"the zone's name has {len(value)} octets: allowed are {MAX_NAME - 4}, for ns1 and ns2 below it"
        )


def _are_servers(
    instance: "ZoneSettings", attribute: "attrs.Attribute[tuple[Name, ...]]", value: tuple[Name, ...]
) -> None:
    if not 1 <= len(value) <= _MAX_NS or len(set(value)) != len(value):
        raise ZoneError(f"the zone has {len(value)} name servers: allowed are 1 to {_MAX_NS}, none twice")


def _is_redirect(instance: "ZoneSettings", attribute: "attrs.Attribute[Name | None]", value: Name | None) -> None:
    if value is None:
        return
    if action_of(value) is not Action.REDIRECT:
        raise ZoneError(f"redirect target {format_name(value)} already means {action_of(value).label} in RPZ")
    if value == instance.apex or is_below(value, instance.apex):
        raise ZoneError(f"redirect target {format_name(value)} lies in the zone {format_name(instance.apex)} itself")


@attrs.frozen(kw_only=True)
class ZoneSettings:
    """The zone's apex and limits; the defaults of the apex are the reference implementation's.

    All that a secondary holds besides the serial and the rules comes from here, so a change of it needs
    `ZoneVersion.restated` and an empty journal: no difference can carry it. Raises ZoneError.
    """

    name: Name = attrs.field(validator=_is_apex)
    mname: Name = Name(b"\x05mname\0")
    rname: Name = Name(b"\x0ahostmaster\x08dnstapir\x02se\0")
    refresh: int = attrs.field(default=60, validator=_in_range)
    retry: int = attrs.field(default=60, validator=_in_range)
    expire: int = attrs.field(default=86400, validator=_in_range)
    minimum: int = attrs.field(default=60, validator=_in_range)
    ttl: int = attrs.field(default=3600, validator=_in_range)
    ns: tuple[Name, ...] = attrs.field(validator=_are_servers)
    redirect: Name | None = attrs.field(default=None, validator=_is_redirect)
    """the CNAME target of REDIRECT; without one a record of that action is refused"""

    journal_max_octets: int = attrs.field(default=32 << 20, validator=_positive)
    journal_max_age: int = attrs.field(default=7 * 86400, validator=_positive)
    """seconds; a secondary that was away longer takes the whole zone"""
    journal_max_deltas: int = attrs.field(default=10_000, validator=_positive)

    @ns.default
    def _upstream_servers(self) -> tuple[Name, ...]:
        return (Name(b"\x03ns1" + self.name), Name(b"\x03ns2" + self.name))

    @property
    def apex(self) -> Name:
        """The zone's name, where its SOA and NS stand."""
        return self.name
