"""What parts say, as a document has it: one that does not answer is an `error` in it, and keeps nobody waiting."""

from collections.abc import Iterable
from typing import Any

from actors import ActorRef, AskError, Request, ask_together


async def gather(
    questions: Iterable[tuple[str, ActorRef[Any] | None, Request[Any]]], *, patience: float
) -> dict[str, Any]:
    """As `ask_together`, for `patience` seconds, with `{"error": ...}` for an answer that is not given."""
    answers = await ask_together(questions, patience=patience)
    return {name: {"error": str(said)} if isinstance(said, AskError) else said for name, said in answers.items()}
