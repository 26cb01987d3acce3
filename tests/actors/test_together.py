"""Many are asked at once: the answers, who gave none and why, and that one who is stuck costs its own time only."""

from typing import Any

import attrs
import pytest
import trio

from actors import (
    Actor,
    ActorRef,
    ActorSpec,
    ActorSystem,
    AskFailed,
    AskTimeout,
    Context,
    MailboxSpec,
    ManualClock,
    Overflow,
    Request,
    Strategy,
    SupervisorSpec,
    SystemSettings,
    answered,
    ask_together,
)
from actors.testing import run_system


@attrs.frozen
class Ask(Request[str]):
    pass


class Answering(Actor[Ask]):
    def __init__(self, after: float | None) -> None:
        self._after = after

    async def receive(self, ctx: Context[Ask], message: Ask) -> None:
        if self._after is None:
            raise RuntimeError("this one breaks")
        await trio.sleep(self._after)
        ctx.reply("yes")


def child(name: str, after: float | None) -> ActorSpec[Ask]:
    mailbox = MailboxSpec(capacity=4, overflow=Overflow.WAIT)
    return ActorSpec(name=name, factory=lambda: Answering(after), mailbox=mailbox)


async def test_all_are_asked_at_once(autojump_clock: Any) -> None:
    system = ActorSystem(clock=ManualClock(), settings=SystemSettings(seed=0))
    after = {"soon": 1.0, "stuck": 1000.0, "late": 4.0, "breaks": None}
    children = tuple([child(name, seconds) for name, seconds in after.items()])
    tree = SupervisorSpec(name="root", strategy=Strategy.ONE_FOR_ONE, children=children)
    async with run_system(tree, system=system):
        begun = trio.current_time()
        refs = {name: system.ref(name) for name in after} | {"absent": None}
        noted: list[tuple[str, Any]] = []
        questions = [(name, ref, Ask()) for name, ref in refs.items()]
        answers = await ask_together(questions, patience=5, note=lambda *answer: noted.append(answer))
        assert trio.current_time() - begun == 5
        assert list(answers) == list(after)
        assert answered(answers) == {"soon": "yes", "late": "yes"}
        assert noted == [("soon", "yes"), ("late", "yes")]
        assert isinstance(answers["stuck"], AskTimeout)
        assert isinstance(answers["breaks"], AskFailed)


async def test_what_is_no_failure_to_answer_is_not_taken_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    ref = ActorSystem().ref("any")
    monkeypatch.setattr(ActorRef, "ask", fail)
    with pytest.RaisesGroup(ZeroDivisionError):
        await ask_together([("any", ref, Ask())], patience=5)
