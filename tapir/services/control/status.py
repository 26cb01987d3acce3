"""One look at everything: the document that `tapir status` shows, asked together of all who know."""

from collections.abc import Callable
from typing import Any, Final

import attrs
import trio

from actors import ActorRef, Request
from tapir.model.messages.control import GetApi, GetHealth
from tapir.model.messages.events import GetClock, GetEvents
from tapir.model.messages.lists import GetSources
from tapir.model.messages.mqtt import GetMqtt
from tapir.model.messages.policy import GetPolicy
from tapir.model.messages.zone import GetSecondaries, GetServer, GetZone
from tapir.services.control.asking import gather
from tapir.services.control.edm import EdmRefs, gather_edm


@attrs.frozen(kw_only=True)
class ProcessFacts:
    """What the process knows of itself; `started_at` is microseconds since the epoch."""

    version: str
    commit: str
    pid: int
    started_at: int
    config_dir: str
    state_dir: str


@attrs.frozen(kw_only=True)
class ControlRefs:
    """Whom the console asks; `server` and `notifier` are None where no zone is served."""

    keeper: ActorRef[Any]
    server: ActorRef[Any] | None
    notifier: ActorRef[Any] | None
    lists: ActorRef[Any]
    policy: ActorRef[Any]
    health: ActorRef[Any]
    overrides: ActorRef[Any]
    events: ActorRef[Any] | None = None
    clock: ActorRef[Any] | None = None
    mqtt: ActorRef[Any] | None = None
    """the one connection with a broker"""
    telemetry: ActorRef[Any] | None = None
    api: ActorRef[Any] | None = None
    source: Callable[[str], ActorRef[Any]] | None = None
    """the actor of a source, by its id"""
    present: Callable[[ActorRef[Any]], bool] = lambda _: True
    """whether that actor is run; a reload starts and stops some"""
    pop: bool = True
    """whether a POP is run here; where none is, nobody is at the refs of its parts"""
    edm: EdmRefs | None = None
    """the actors of EDM, where that is run here"""


_ALWAYS: Final = frozenset({"server", "secondaries"})
"""Parts that are None where they are not run; others are left out."""


async def gather_status(refs: ControlRefs, *, patience: float) -> dict[str, Any]:
    """What each part says of itself, by its name; a part that does not answer within `patience` s is an `error`.

    All are asked at once, so one stuck actor costs one `patience`, not one each.
    """
    questions: list[tuple[str, ActorRef[Any] | None, Request[Any]]] = [
        ("health", refs.health, GetHealth()),
        ("sources", refs.lists, GetSources()),
        ("policy", refs.policy, GetPolicy()),
        ("zone", refs.keeper, GetZone()),
        ("server", refs.server, GetServer()),
        ("secondaries", refs.notifier, GetSecondaries()),
        ("events", refs.events, GetEvents()),
        ("clock", refs.clock, GetClock()),
        ("api", refs.api, GetApi()),
        ("mqtt", refs.mqtt, GetMqtt()),
    ]
    questions = [each for each in questions if each[1] is None or refs.present(each[1])]
    answers: dict[str, Any] = dict.fromkeys(_ALWAYS if refs.pop else ())

    async def ask_edm(edm: EdmRefs) -> None:
        answers["edm"] = await gather_edm(edm, patience=patience)

    async with trio.open_nursery() as nursery:
        if refs.edm is not None:
            nursery.start_soon(ask_edm, refs.edm)
        answers |= await gather(questions, patience=patience)
    return answers
