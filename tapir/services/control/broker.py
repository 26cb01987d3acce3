"""How the MQTT connection and the global configuration stand, for the console."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from actors import ActorError, ActorRef, ActorSystem, Request
from tapir.model.messages.mqtt import GetGlobalConfig, GetMqtt

_GROUP: Final = "uplink"

Ask = Callable[[ActorRef[Any], Request[Any]], Awaitable[object]]


async def describe_broker(system: ActorSystem, ask: Ask) -> dict[str, object]:
    """`mqtt` and `global`, each None where this process does not run it."""
    try:
        running = set(system.supervisor(_GROUP).children())
    except ActorError:
        running = set()
    questions: tuple[tuple[str, Request[Any]], ...] = (("mqtt", GetMqtt()), ("global", GetGlobalConfig()))
    return {
        name: await ask(system.ref(f"{_GROUP}/{name}"), question) if name in running else None
        for name, question in questions
    }
