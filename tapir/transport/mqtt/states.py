"""What a client tells of its connection, and what can go wrong with it."""

import enum

import attrs

from tapir.codec.mqtt.packets import FAILURE, Subscription, Version, describe
from tapir.model.errors import TapirError
from tapir.transport.streams import Address


class Trouble(enum.StrEnum):
    """Why there is no connection, or no longer; the words of counters and logs."""

    RESOLVE = "resolve"
    """the broker's name has no address"""
    CONNECT = "connect"
    """nobody listens, or no way there"""
    TLS = "tls"
    """a file of ours cannot be used, or the two did not come to terms"""
    TIMEOUT = "timeout"
    """no connection or no SUBACK in time"""
    SILENT = "silent"
    """the broker took the connection, and never answered CONNECT"""
    REFUSED = "refused"
    """CONNACK says no"""
    VERSION = "version"
    """the broker does not speak this version of MQTT"""
    TAKEN_OVER = "taken-over"
    """another client came with the same client identifier; or seems to have, where the broker has no word for it"""
    DISCONNECTED = "disconnected"
    """the broker said why it goes"""
    CLOSED = "closed"
    """the broker closed without a word, as one of 3.1.1 does whatever the reason, and mosquitto 2.0 at a takeover"""
    BROKEN = "broken"
    """the connection was reset or cut"""
    KEEPALIVE = "keepalive"
    """the broker did not answer: half-dead, or the network is"""
    STALLED = "stalled"
    """the broker takes nothing of what it is sent"""
    MALFORMED = "malformed"
    """what came is not MQTT"""
    PROTOCOL = "protocol"
    """what came is MQTT, and not its turn"""
    TOO_LARGE = "too-large"
    """a packet past the agreed size"""
    RENEWED = "renewed"
    """none at all: the caller wanted the connection made anew"""


class ConnectionLost(TapirError):
    """There is no connection with the broker (any more); what was not acknowledged comes again."""

    def __init__(self, trouble: Trouble, text: str, *, reason: int = 0) -> None:
        super().__init__(text)
        self.trouble = trouble
        self.reason = reason
        """what to say to the broker in DISCONNECT, where that makes sense"""


class PublishRefused(TapirError):
    """The broker will not have this message, now or later; the text says why."""


class PublishLost(TapirError):
    """A message of QoS 0 went down with its connection, or may have."""


class ClientStopped(TapirError):
    """The client does not run any more: nothing comes, nothing is sent; what was not acknowledged may have arrived."""


@attrs.frozen(kw_only=True)
class Connecting:
    """A connection is being made, the `attempt`-th in a row."""

    attempt: int


@attrs.frozen(kw_only=True)
class Connected:
    """The broker is there, and has answered what we subscribed to.

    Its answer comes behind what it kept for us: whoever waits for this must take messages meanwhile.
    """

    peer: Address
    version: Version
    session_present: bool
    """the broker kept our session: what came meanwhile is on its way"""
    keepalive: int
    session_expiry: int
    """seconds that the broker keeps the session, as far as it said; fewer than asked is worth a notice"""
    answers: tuple[tuple[Subscription, int], ...] = ()
    """for each subscription the QoS granted, or a reason code from 0x80 on"""

    @property
    def refused(self) -> tuple[tuple[str, str], ...]:
        """The topic filters that the broker refuses, with why."""
        return tuple((sub.topic_filter, describe(code)) for sub, code in self.answers if code >= FAILURE)


@attrs.frozen(kw_only=True)
class Lost:
    """There is no connection; the next is tried in `retry_in` seconds."""

    trouble: Trouble
    text: str
    retry_in: float


State = Connecting | Connected | Lost


@attrs.frozen(kw_only=True)
class Statistics:
    """Counters since the client was made, and what it holds now."""

    connections: int = 0
    octets_in: int = 0
    octets_out: int = 0
    pings: int = 0
    received: int = 0
    """messages handed to the caller's queue, repetitions included"""
    repeated: int = 0
    """of these and of those not handed over, the ones that the broker marked as sent before"""
    queued: int = 0
    """messages that wait for the caller now"""
    unacknowledged: int = 0
    """messages that wait for our acknowledgement now"""
    late: int = 0
    """acknowledgements for a connection that was gone: the broker sends the message again"""
    submitted: int = 0
    acknowledged: int = 0
    """messages of ours at QoS 1 that the broker has taken"""
    refused: int = 0
    resent: int = 0
    waiting: int = 0
    """messages of ours that are not sent or not acknowledged now"""
    unexpected: int = 0
    """acknowledgements by the broker of what we did not send"""
