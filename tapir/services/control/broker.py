"""How the MQTT connection and the global configuration stand, for the console."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from actors import ActorRef, ActorSystem, Request, UnknownActor
from tapir.model.messages.mqtt import GetGlobalConfig, GetMqtt

_PARTS: Final[tuple[tuple[str, str, Request[Any]], ...]] = (
    ("mqtt", "uplink/mqtt", GetMqtt()),
    ("global", "uplink/global", GetGlobalConfig()),
    ("edm", "edm-uplink/mqtt", GetMqtt()),
)

Ask = Callable[[ActorRef[Any], Request[Any]], Awaitable[object]]


async def describe_broker(system: ActorSystem, ask: Ask) -> dict[str, object]:
    """`mqtt` and `global` of a POP and the session of `edm`, each None where this process does not run it."""

    async def look(path: str, question: Request[Any]) -> object:
        try:
            system.find(path)
        except UnknownActor:
            return None
        return await ask(system.ref(path), question)

    return {name: await look(path, question) for name, path, question in _PARTS}
