"""Asking many at once, and waiting for none of them for long."""

from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeVar

import trio

from actors.errors import AskError
from actors.message import Request
from actors.ref import ActorRef

K = TypeVar("K", bound=Hashable)


async def ask_together(
    questions: Iterable[tuple[K, ActorRef[Any] | None, Request[Any]]],
    *,
    patience: float,
    note: Callable[[K, Any], object] = lambda _key, _answer: None,
) -> dict[K, Any]:
    """The answers by the keys of the questions, in their order; of one that was not given, the AskError.

    Nobody who is None is asked, nor among the answers. All are asked at once, so one stuck actor costs one `patience`,
    in seconds, and not one each; `note` has each answer that is given as soon as it is.
    """
    asked = [(key, ref, question) for key, ref, question in questions if ref is not None]
    answers: dict[K, Any] = dict.fromkeys([key for key, _, _ in asked])

    async def ask(key: K, ref: ActorRef[Any], question: Request[Any]) -> None:
        try:
            answers[key] = await ref.ask(question, timeout=patience)
        except AskError as exc:
            answers[key] = exc
        else:
            note(key, answers[key])

    async with trio.open_nursery() as nursery:
        for key, ref, question in asked:
            nursery.start_soon(ask, key, ref, question)
    return answers


def answered(answers: dict[K, Any]) -> dict[K, Any]:
    """Those of `answers` that were given."""
    return {key: answer for key, answer in answers.items() if not isinstance(answer, AskError)}
