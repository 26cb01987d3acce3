"""Ask many at once, and wait for none of them for long."""

from collections.abc import Iterable
from typing import Any

import trio

from actors import ActorRef, AskError, Request


async def ask_together(
    questions: Iterable[tuple[str, ActorRef[Any] | None, Request[Any]]], *, patience: float
) -> dict[str, Any]:
    """The answers by the names of the questions; one that is not given within `patience` s is an `error`.

    Nobody who is None is asked, nor among the answers. All are asked at once, so one stuck actor costs one `patience`,
    not one each.
    """
    asked = [(name, ref, question) for name, ref, question in questions if ref is not None]
    answers: dict[str, Any] = {name: None for name, _, _ in asked}

    async def ask(name: str, ref: ActorRef[Any], question: Request[Any]) -> None:
        try:
            answers[name] = await ref.ask(question, timeout=patience)
        except AskError as exc:
            answers[name] = {"error": str(exc)}

    async with trio.open_nursery() as nursery:
        for name, ref, question in asked:
            nursery.start_soon(ask, name, ref, question)
    return answers
