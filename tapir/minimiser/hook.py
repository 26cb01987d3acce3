"""Whether a resolver sends what its clients get, or by mistake what it asks for itself.

Resolvers log at several places (dnstap calls them by the type of message). Where the resolver is the one who asks, the
client's address is the resolver's own: then a histogram counts one client, and a session says nothing. That is no
error that a frame could show by itself, and so it is judged by many.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tapir.codec.dnstap import MessageType
from tapir.minimiser.addresses import AddressColumn

ENOUGH: Final = 1000
"""responses that are judged together"""

_OWN: Final = (MessageType.RESOLVER_RESPONSE, MessageType.FORWARDER_RESPONSE)
"""those that the resolver asked for itself"""
_FEW: Final = 10
"""one in so many"""


class HookWatch:
    """Judges every ENOUGH responses: whether most are the resolver's own, and after that, whether few still are.

    Between most and few nothing changes, so a resolver that sends some of each is not told of again and again.
    """

    def __init__(self) -> None:
        self._seen = self._wrong = self._same = 0
        self._told = False
        self.judged = False
        """whether so many came already"""

    def __repr__(self) -> str:
        return f"<HookWatch after {self._seen} responses, told: {self._told}>"

    def observe(self, message_types: NDArray[np.uint8], clients: AddressColumn, servers: AddressColumn) -> str | None:
        """Take a block's responses; the sentence for the operator when it is to be said, and "" when that is over.

        None is that there is nothing new. It says no address. Loopback is not taken for the resolver's own: those who
        try things out ask there.
        """
        self._seen += len(message_types)
        self._wrong += int(np.isin(message_types, _OWN).sum())
        left, right = clients.octets.view(np.uint64), servers.octets.view(np.uint64)
        same = (left == right).all(axis=1) & (clients.sizes == servers.sizes) & (clients.sizes != 0)
        self._same += int((same & ~_loopback(clients)).sum())
        if self._seen < ENOUGH:
            return None
        self.judged = True
        sentence = self._judged_again() if self._told else self._judged()
        self._seen = self._wrong = self._same = 0
        if sentence is not None:
            self._told = bool(sentence)
        return sentence

    def _judged_again(self) -> str | None:
        return "" if _FEW * max(self._wrong, self._same) < self._seen else None

    def _judged(self) -> str | None:
        if 2 * self._wrong > self._seen:
            found = f"{self._wrong} of {self._seen} responses are of type RESOLVER_RESPONSE or FORWARDER_RESPONSE"
        elif 2 * self._same > self._seen:
            found = f"{self._same} of {self._seen} responses have the same address for client and server"
        else:
            return None
        return (
            f"{found}: the client there is the resolver itself, so clients are not counted. Have the resolver send "
            "CLIENT_RESPONSE (unbound: dnstap-log-client-response-messages; BIND: dnstap { client response; }). All "
            "else goes on"
        )


def _loopback(addresses: AddressColumn) -> NDArray[np.bool_]:
    """Which are 127.0.0.0/8 or ::1."""
    octets = addresses.octets
    alone: NDArray[np.bool_] = (octets[:, :15] == 0).all(axis=1) & (octets[:, 15] == 1)
    short = addresses.sizes == 4
    found: NDArray[np.bool_] = np.where(short, octets[:, 0] == 127, alone)
    return found
