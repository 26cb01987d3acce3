"""The account of frames: what was received, and what became of each.

    received = minimised + ignored{reason} + malformed{reason} + dropped{reason} + in flight

A frame is entered as received once, when it is taken from its stream, and settled once, whatever happens to it; what is
between the two is in flight. So nothing can be lost in silence: it would be in flight for good.
"""

import enum
import threading
from collections.abc import Mapping
from typing import Final

import attrs

from tapir.codec.dnstap import Outcome


class Fate(enum.Enum):
    """What may become of a frame, by the kind and the reason that metrics and status show."""

    HISTOGRAM = ("minimised", "histogram")
    """counted for a well-known name"""
    OTHER = ("minimised", "other")
    """looked at for novelty, and put into the sessions where those are on"""
    QUERY = ("ignored", "query")
    CLIENT = ("ignored", "client")
    CLIENT_ERROR = ("ignored", "client-error")
    """no usable client address while a list of clients to ignore is in effect"""
    NO_QUESTION = ("ignored", "no-question")
    QUESTION_NAME = ("ignored", "question-name")
    INVALID_NAME = ("ignored", "invalid-name")
    PROTOBUF = ("malformed", "protobuf")
    NO_MESSAGE = ("malformed", "no-message")
    DNS = ("malformed", "dns")
    OVERLOAD = ("dropped", "overload")
    STOPPED = ("dropped", "stopped")
    """taken from the stream, and not minimised before the deadline of a stop"""
    FAILED = ("dropped", "failed")
    """its block could not be worked on"""

    def __init__(self, kind: str, reason: str) -> None:
        self.kind = kind
        self.reason = reason


OUTCOMES: Final[Mapping[Outcome, Fate]] = {
    Outcome.MALFORMED: Fate.PROTOBUF,
    Outcome.NO_MESSAGE: Fate.NO_MESSAGE,
    Outcome.QUERY: Fate.QUERY,
    Outcome.NO_DNS: Fate.DNS,
    Outcome.UNPARSABLE: Fate.DNS,
    Outcome.NO_QUESTION: Fate.NO_QUESTION,
}
"""What becomes of a frame that decoding has an end with, unless its client is ignored."""

UPSTREAM: Final[Mapping[str, tuple[Fate, ...]]] = {
    "edm_ignored_client_ip_total": (Fate.CLIENT,),
    "edm_ignored_client_ip_error_total": (Fate.CLIENT_ERROR,),
    "edm_ignored_dns_parse_error_total": (Fate.NO_MESSAGE, Fate.DNS),
    "edm_ignored_empty_question_section_total": (Fate.NO_QUESTION,),
    "edm_ignored_invalid_question_name_total": (Fate.INVALID_NAME,),
    "edm_ignored_question_name_total": (Fate.QUESTION_NAME,),
}
"""The counters of the existing EDM that are sums of ours; `edm_processed_dnstap_total` is `Account.processed`."""

_DROPPED: Final = "dropped"


@attrs.frozen(kw_only=True)
class Account:
    """The account at one moment."""

    received: int = 0
    settled: Mapping[Fate, int] = attrs.field(factory=dict)

    def count(self, fate: Fate) -> int:
        return self.settled.get(fate, 0)

    def total(self, kind: str) -> int:
        """How many frames had a fate of this kind."""
        return sum([count for fate, count in self.settled.items() if fate.kind == kind])

    @property
    def in_flight(self) -> int:
        return self.received - sum(self.settled.values())

    @property
    def processed(self) -> int:
        """Frames that were looked at, as the existing EDM counts them: all that are settled and were not dropped."""
        return sum(self.settled.values()) - self.total(_DROPPED)

    def upstream(self) -> dict[str, int]:
        """The figures under the names that they have in the existing EDM."""
        figures = {name: sum([self.count(fate) for fate in fates]) for name, fates in UPSTREAM.items()}
        return {"edm_processed_dnstap_total": self.processed, **figures}


class Ledger:
    """Keeps the account; any thread may enter frames, settle them and read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received = 0
        self._settled: dict[Fate, int] = dict.fromkeys(Fate, 0)

    def receive(self, frames: int) -> None:
        """So many frames were taken from a stream."""
        with self._lock:
            self._received += frames

    def settle(self, fates: Mapping[Fate, int]) -> None:
        """So many frames had these fates. Raises ValueError, and settles nothing, when not so many are in flight."""
        with self._lock:
            in_flight = self._received - sum(self._settled.values())
            if min(fates.values(), default=0) < 0 or sum(fates.values()) > in_flight:
                raise ValueError(f"{sum(fates.values())} frames are settled, and {in_flight} are in flight")
            for fate, count in fates.items():
                self._settled[fate] += count

    def account(self) -> Account:
        """The account as it is now: the figures belong together."""
        with self._lock:
            return Account(received=self._received, settled=dict(self._settled))
