"""What a client is told once: who it is, how patient, how much it holds."""

import random
from typing import Final

import attrs

from tapir.codec.mqtt.packets import MOST_PACKET, MOST_PACKET_ID, Version

DAY: Final = 86_400
_BOTH: Final = (Version.V5, Version.V3_1_1)


@attrs.frozen
class Backoff:
    """The wait before a connection: `first`, then `factor` times as long each time, `maximum` at most.

    `jitter` (0 to 1) takes up to that part off at random, so that the clients of a broker do not come back at one
    moment.
    """

    first: float = 0.5
    factor: float = 2.0
    maximum: float = 60.0
    jitter: float = 0.5

    def delay(self, failures: int, rng: random.Random) -> float:
        """Seconds to wait after the `failures`-th failure in a row."""
        # The exponent is bounded: a float to the power of thousands overflows.
        full = min(self.maximum, self.first * self.factor ** min(failures - 1, 64))
        return full * (1 - self.jitter * rng.random())


@attrs.frozen(kw_only=True)
class ClientSettings:
    """How one client behaves; times are in seconds, sizes in octets."""

    client_id: str = attrs.field(validator=attrs.validators.min_len(1))
    """names the session at the broker: the same after a restart, and nobody else's"""
    versions: tuple[Version, ...] = attrs.field(default=_BOTH, validator=attrs.validators.min_len(1))
    """tried in this order; the next one only when the broker refuses the one before, or has no word for it"""
    username: str | None = None
    password: bytes | None = attrs.field(default=None, repr=False)
    session_expiry: int = attrs.field(default=7 * DAY, validator=attrs.validators.ge(DAY))
    """how long the broker is asked to keep what comes while we are away; 3.1.1 leaves that to the broker"""
    keepalive: int = attrs.field(
        default=30, validator=attrs.validators.and_(attrs.validators.ge(1), attrs.validators.le(65535))
    )
    """silence after which the broker is asked whether it is there"""
    ping_patience: float = 10.0
    """how long after that no whole packet may come"""
    connect_patience: float = 20.0
    """for name resolution, TCP and TLS together; as long again for CONNACK, and for each SUBACK"""
    write_patience: float = 20.0
    """how long the broker may take nothing of what it is sent"""
    goodbye_patience: float = 2.0
    """for the last acknowledgements and DISCONNECT when we stop"""
    stable_after: float = 30.0
    """a connection that held that long was a success: the back-off begins anew"""
    subscription_retry: float = 300.0
    """after that a topic filter that was refused is asked for again, on the same connection"""
    backoff: Backoff = Backoff()
    receive_maximum: int = attrs.field(
        default=1000, validator=attrs.validators.and_(attrs.validators.ge(1), attrs.validators.le(MOST_PACKET_ID))
    )
    """messages that wait for our acknowledgement, and messages that wait for the caller"""
    receive_octets: int = attrs.field(default=16 << 20, validator=attrs.validators.ge(1))
    """payload and topics that wait for the caller; past it the connection is not read (one packet and read more)"""
    maximum_packet: int = attrs.field(
        default=1 << 20, validator=attrs.validators.and_(attrs.validators.ge(64), attrs.validators.le(MOST_PACKET))
    )
    """the largest packet that the broker may send; 3.1.1 cannot tell it so, a larger one ends the connection"""
    publish_window: int = attrs.field(
        default=1000, validator=attrs.validators.and_(attrs.validators.ge(1), attrs.validators.le(30_000))
    )
    """messages of ours that wait to be sent or acknowledged; `submit` waits past it"""
    publish_octets: int = attrs.field(default=16 << 20, validator=attrs.validators.ge(1))
    """payload of those; `submit` waits past it, save for one alone"""
