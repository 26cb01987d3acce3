"""Actors on Trio: supervision as in OTP, structure as in Trio. `docs/runtime-semantics.md` is the contract."""

from actors.actor import Actor, Context
from actors.ask import Reply
from actors.clock import Clock, ManualClock, SystemClock
from actors.errors import (
    ActorError,
    AskCycle,
    AskError,
    AskFailed,
    AskRejected,
    AskTimeout,
    IncarnationOver,
    NameTaken,
    NoReply,
    NotAsked,
    RestartLimitReached,
    StartFailed,
    SupervisorStopped,
    UnknownActor,
)
from actors.events import (
    ActorCrashed,
    ActorStarted,
    ActorStopped,
    ActorStuck,
    DeadLetter,
    GaveUp,
    MessageDropped,
    RestartScheduled,
    StreamSuspended,
    Subscription,
    SystemEvent,
    TraceEntry,
)
from actors.mailbox import Delivery, MailboxSpec, Overflow
from actors.message import Request, describe
from actors.ref import ActorRef
from actors.runtime import Down
from actors.spec import (
    ActorSpec,
    Backoff,
    Intensity,
    Restart,
    StopReason,
    Strategy,
    SupervisorSpec,
    SystemSettings,
)
from actors.statistics import LatencyStatistics, MailboxStatistics, NodeStatistics, Status, SystemStatistics
from actors.system import ActorSystem, SupervisorRef
from actors.timers import Timer
from actors.together import answered, ask_together
from actors.workers import WorkerStatistics

# fmt: off
__all__ = [
    "Actor", "ActorCrashed", "ActorError", "ActorRef", "ActorSpec", "ActorStarted", "ActorStopped", "ActorStuck",
    "ActorSystem", "AskCycle", "AskError", "AskFailed", "AskRejected", "AskTimeout", "Backoff", "Clock", "Context",
    "DeadLetter", "Delivery", "Down", "GaveUp", "IncarnationOver", "Intensity", "LatencyStatistics", "MailboxSpec",
    "MailboxStatistics", "ManualClock", "MessageDropped", "NameTaken", "NoReply", "NodeStatistics", "NotAsked",
    "Overflow", "Reply", "Request", "Restart", "RestartLimitReached", "RestartScheduled", "StartFailed", "Status",
    "StopReason", "Strategy", "StreamSuspended", "Subscription", "SupervisorRef", "SupervisorSpec",
    "SupervisorStopped", "SystemClock", "SystemEvent", "SystemSettings", "SystemStatistics", "Timer", "TraceEntry",
    "UnknownActor", "WorkerStatistics", "answered", "ask_together", "describe",
]
# fmt: on
