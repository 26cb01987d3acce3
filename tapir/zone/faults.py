"""Why a transfer into us failed, and how much of one is taken at most."""

import enum
from typing import Final

import attrs

from tapir.model.names import Name, format_name
from tapir.zone.errors import ZoneError

RCODES: Final = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 9: "NOTAUTH"}
"""The errors that a primary may answer with."""


class Fault(enum.StrEnum):
    """Why a transfer came to nothing: the names of counters."""

    REFUSED = "refused"
    """the primary answered with an error"""
    TSIG = "tsig"
    ROLLBACK = "rollback"
    """its serial is older than ours"""
    OTHER_ANSWER = "other-answer"
    """a message is no answer to our question"""
    FORMERR = "formerr"
    PROTOCOL = "protocol"
    """the SOA records do not come in their order"""
    CONTRADICTION = "contradiction"
    """a difference removes what is not there, or adds what is"""
    TOO_LARGE = "too-large"
    NO_ANSWER = "no-answer"
    """the stream ended before it began"""
    CUT_OFF = "cut-off"

    @property
    def whole_may_help(self) -> bool:
        """Whether AXFR can still succeed where IXFR failed so."""
        return self not in {Fault.TSIG, Fault.ROLLBACK, Fault.OTHER_ANSWER}


class TransferError(ZoneError):
    """A transfer ended before the zone was complete, or cannot be used; what was held before still holds."""

    def __init__(self, *, zone: Name, fault: Fault, detail: str) -> None:
        super().__init__(f"transfer of {format_name(zone)}: {fault}: {detail}")
        self.zone = zone
        self.fault = fault
        self.detail = detail


def _positive(instance: "TransferLimits", attribute: "attrs.Attribute[int]", value: int) -> None:
    if value < 1:
        raise ZoneError(f"{attribute.name} of a transfer is {value}: allowed is 1 or more")


@attrs.frozen(kw_only=True)
class TransferLimits:
    """How much of a transfer is taken; past any of these but the last two it fails. Raises ZoneError."""

    octets: int = attrs.field(default=2 << 30, validator=_positive)
    """on the wire; and as many again once compression is undone"""
    records: int = attrs.field(default=20_000_000, validator=_positive)
    steps: int = attrs.field(default=100_000, validator=_positive)
    """differences in one answer to IXFR"""
    opaque: int = attrs.field(default=100_000, validator=_positive)
    """records that POP does not evaluate and that are handed out as they are; what comes beyond that is left out"""
    opaque_octets: int = attrs.field(default=32 << 20, validator=_positive)
    """of these"""
