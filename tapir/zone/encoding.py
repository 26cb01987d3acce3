"""The zone's settings as octets: the records of its apex, and the tail of every rule."""

import hashlib
import struct
from array import array
from functools import lru_cache
from itertools import accumulate
from typing import Final

import attrs

from tapir.codec.rpz import CLASS_IN, QUESTION_POINTER, encode_record, record_tail
from tapir.model.actions import Action
from tapir.model.names import MAX_NAME, Name, format_name
from tapir.zone.errors import ZoneError
from tapir.zone.settings import ZoneSettings

TYPE_NS: Final = 2
TYPE_SOA: Final = 6


@attrs.frozen(eq=False, repr=False)
class ZoneEncoding:
    """How a zone of these settings is written; made once per settings by `encoding_of`."""

    settings: ZoneSettings
    tails: tuple[bytes, ...]
    """by `Action`; empty for those that the zone cannot say"""
    ns: bytes
    digest: str
    """changes with anything in the settings that a secondary holds"""
    tail_octets: bytes = attrs.field(init=False)
    """`tails` back to back, for kernels; tail i begins at `tail_starts[i]`"""
    tail_starts: memoryview = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        ends = accumulate(map(len, self.tails), initial=0)
        object.__setattr__(self, "tail_octets", b"".join(self.tails))
        object.__setattr__(self, "tail_starts", memoryview(array("I", ends).tobytes()).cast("I"))

    @property
    def longest(self) -> int:
        """How many octets a rule's name has at most."""
        return MAX_NAME + 1 - len(self.settings.apex)

    def soa(self, serial: int, *, owner: bytes = QUESTION_POINTER, negative: bool = False) -> bytes:
        """The SOA record of `serial`; in a `negative` answer its TTL is as RFC 2308 §3 wants it."""
        settings = self.settings
        ttl = min(settings.ttl, settings.minimum) if negative else settings.ttl
        numbers = struct.pack("!5I", serial, settings.refresh, settings.retry, settings.expire, settings.minimum)
        return _record(owner, TYPE_SOA, ttl, settings.mname + settings.rname + numbers)

    def record(self, name: Name, action: int) -> bytes:
        """The rule's record, for a message whose question asks for the zone; raises ZoneError."""
        problem = self.problem_of(name, action)
        if problem:
            raise ZoneError(problem)
        return encode_record(name, self.tails[action])

    def problem_of(self, name: Name, action: int) -> str:
        """Why no record says this; empty if there is one."""
        if not 0 < action < len(self.tails) or not self.tails[action]:
            return f"{format_name(name)} has action {label_of(action)}, which this zone cannot say"
        if not 1 < len(name) <= self.longest:
            return f"{format_name(name)} with the zone's name is no owner of 2 to {MAX_NAME} octets"
        return ""


def label_of(action: int) -> str:
    """The action's label, or the number of what is none."""
    return Action(action).label if 0 <= action < len(Action) else str(action)


def _record(owner: bytes, rdtype: int, ttl: int, rdata: bytes) -> bytes:
    return owner + struct.pack("!HHIH", rdtype, CLASS_IN, ttl, len(rdata)) + rdata


@lru_cache(maxsize=16)
def encoding_of(settings: ZoneSettings) -> ZoneEncoding:
    """The encoding of `settings`."""
    redirect = settings.redirect
    unsayable = {Action.NONE} if redirect is not None else {Action.NONE, Action.REDIRECT}
    tails = tuple(
        b"" if action in unsayable else record_tail(action, ttl=settings.ttl, redirect=redirect) for action in Action
    )
    ns = b"".join(_record(QUESTION_POINTER, TYPE_NS, settings.ttl, server) for server in settings.ns)
    partial = ZoneEncoding(settings=settings, tails=tails, ns=ns, digest="")
    said = b"\0".join((settings.apex, partial.soa(0), ns, *tails))
    return attrs.evolve(partial, digest=hashlib.sha256(said).hexdigest()[:32])
