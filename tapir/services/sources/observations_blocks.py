"""How many of the messages that wait are taken together: many cost one commit, and none should wait for too many."""

from collections.abc import Sequence
from typing import Final

from tapir.model.messages.mqtt import MqttBlock

MOST_MESSAGES: Final = 512
MOST_OCTETS: Final = 4 << 20
"""What is taken together; one message at least."""


def next_blocks(waiting: Sequence[MqttBlock]) -> list[MqttBlock]:
    """The first ones of `waiting`, as many as are taken together."""
    taken: list[MqttBlock] = []
    messages = octets = 0
    for block in waiting:
        messages += len(block)
        octets += sum(map(len, block.payloads))
        if taken and (messages > MOST_MESSAGES or octets > MOST_OCTETS):
            break
        taken.append(block)
    return taken
