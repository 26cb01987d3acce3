"""Asking many at once, and waiting for none of them for long."""

from collections.abc import Iterable
from typing import Any

import trio

from actors.errors import AskError
from actors.message import Request
from actors.ref import ActorRef


async def ask_together(
    questions: Iterable[tuple[str, ActorRef[Any] | None, Request[Any]]], *, patience: float
) -> dict[str, Any]:
    """The answers by the names of the questions, in their order; of one that was not given, the AskError.

    Nobody who is None is asked, nor among the answers. All are asked at once, so one stuck actor costs one `patience`,
    in seconds, and not one each.
    """
    asked = [(name, ref, question) for name, ref, question in questions if ref is not None]
    answers: dict[str, Any] = dict.fromkeys([name for name, _, _ in asked])

    async def ask(name: str, ref: ActorRef[Any], question: Request[Any]) -> None:
        try:
            answers[name] = await ref.ask(question, timeout=patience)
        except AskError as exc:
            answers[name] = exc

    async with trio.open_nursery() as nursery:
        for name, ref, question in asked:
            nursery.start_soon(ask, name, ref, question)
    return answers


def answered(answers: dict[str, Any]) -> dict[str, Any]:
    """Those of `answers` that were given."""
    return {name: answer for name, answer in answers.items() if not isinstance(answer, AskError)}
