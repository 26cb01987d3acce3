"""References: how anybody speaks to an actor. A ref names a place in the tree, not an incarnation."""

import math
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

from actors.ask import ASKER, Reply
from actors.errors import AskCycle, AskTimeout
from actors.mailbox import Delivery, Envelope
from actors.message import Request, describe

if TYPE_CHECKING:
    from actors.mailbox import Mailbox
    from actors.runtime import Runtime

M_contra = TypeVar("M_contra", contravariant=True)
R = TypeVar("R")


class ActorRef(Generic[M_contra]):
    """The place `path` in a system. It survives restarts, and may exist before and after its actor does."""

    __slots__ = ("_runtime", "path")

    def __init__(self, runtime: "Runtime", path: str) -> None:
        self._runtime = runtime
        self.path = path

    def __repr__(self) -> str:
        return f"<ref {self.path}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ActorRef):
            return NotImplemented
        return self.path == other.path and self._runtime is other._runtime

    def __hash__(self) -> int:
        return hash(self.path)

    async def tell(self, message: M_contra) -> Delivery:
        """Put `message` into the mailbox; waits for a slot only where the overflow is WAIT. Always a checkpoint.

        Never raises because of the mailbox; cancelled while it waits, the message was not delivered.
        """
        mailbox = self._runtime.mailboxes.get(self.path)
        if mailbox is None:
            await trio.lowlevel.checkpoint()
            delivery = Delivery.DEAD
        else:
            delivery = await mailbox.put(Envelope(message))
        if delivery is Delivery.DEAD:
            self._bury(mailbox, message)
        return delivery

    def tell_nowait(self, message: M_contra) -> Delivery:
        """As `tell`, but FULL (and counted) where it would have to wait."""
        mailbox = self._runtime.mailboxes.get(self.path)
        delivery = Delivery.DEAD if mailbox is None else mailbox.put_nowait(Envelope(message))
        if delivery is Delivery.DEAD:
            self._bury(mailbox, message)
        elif delivery is Delivery.FULL and mailbox is not None:
            mailbox.count("full", message)
        return delivery

    async def ask(self, message: Request[R], *, timeout: float | None = None) -> R:  # noqa: ASYNC109 - the default is the system's
        """The answer to `message`, within `timeout` seconds, the enclosing deadline, or without either the system's.

        Raises AskTimeout, but where an enclosing deadline passes, which cancels as it does everything; AskFailed when
        the actor crashes, stops, does not exist or answers with an error (its cause), NoReply when it handles the
        request without answering; AskRejected when the mailbox does not keep the request; AskCycle, before anything
        is sent, when the circle of waiting actors would close.
        """
        asker = ASKER.get()
        if asker is not None and (cycle := self._runtime.waits.find_cycle(asker, self.path)):
            raise AskCycle(message=describe(message), cycle=cycle)
        seconds = timeout
        if seconds is None:
            bounded = trio.current_effective_deadline() < math.inf
            seconds = math.inf if bounded else self._runtime.settings.ask_timeout
        reply = Reply(self.path, describe(message))
        envelope = Envelope(message, reply=reply)
        try:
            with self._runtime.waits.waiting(asker, reply), trio.move_on_after(seconds):
                mailbox = self._runtime.mailboxes.get(self.path)
                delivery = Delivery.DEAD if mailbox is None else await mailbox.put(envelope)
                if delivery is Delivery.DEAD:
                    self._bury(mailbox, message)
                    reply.give_up("there is no such actor, or it stopped")
                elif delivery is Delivery.REJECTED or delivery is Delivery.DROPPED:
                    reply.reject(f"its mailbox is full ({delivery.value})")
                answer: R = await reply.wait()
                return answer
        finally:
            if not reply.answered:  # timed out or cancelled: nobody waits, so nobody need work for it
                reply.abandon()
                if (mailbox := self._runtime.mailboxes.get(self.path)) is not None:
                    mailbox.discard(envelope)
        raise AskTimeout(path=self.path, message=reply.message, reason=f"no answer within {seconds:g} s")

    def _bury(self, mailbox: "Mailbox | None", message: object) -> None:
        self._runtime.bury(self.path, "no such actor" if mailbox is None else "stopped", message)
