"""What the runtime refuses or reports; error texts name paths and message classes, never a message's fields."""


class ActorError(Exception):
    """The actor runtime refuses or reports something; the root of its errors."""


class UnknownActor(ActorError):
    """There is no such place in the tree."""


class SupervisorStopped(ActorError):
    """The supervisor does not run, or began to stop, so its children cannot be changed."""


class NameTaken(ActorError):
    """The supervisor has a child of this name already."""


class NotAsked(ActorError):
    """The message being handled was not asked, or is answered already."""


class IncarnationOver(ActorError):
    """A timer, a watch or a task was begun by an incarnation that has ended, in `stopping` after a crash."""


class StartFailed(ActorError):
    """An actor did not become ready; what was started before it has been stopped again, in order."""

    def __init__(self, *, path: str, reason: str) -> None:
        super().__init__(f"{path} did not start: {reason}")
        self.path = path
        self.reason = reason


class RestartLimitReached(ActorError):
    """A supervisor gave up: its child failed more often than its intensity allows."""

    def __init__(self, *, path: str, child: str, restarts: int, period: float, error: str) -> None:
        super().__init__(
            f"supervisor {path or '(root)'} gave up: {child} needed more than {restarts} restarts in {period:g} s, "
            f"last error {error}"
        )
        self.path = path
        self.child = child
        self.restarts = restarts
        self.period = period
        self.error = error


class AskError(ActorError):
    """An ask brought no answer."""

    def __init__(self, *, path: str, message: str, reason: str) -> None:
        super().__init__(f"ask of {path} ({message}): {reason}")
        self.path = path
        self.message = message
        self.reason = reason


class AskTimeout(AskError):
    """No answer came in time; the request may or may not have been carried out."""


class AskFailed(AskError):
    """The actor crashed, stopped, does not exist, or answered with an error (`__cause__`)."""


class NoReply(AskFailed):
    """The actor handled the request without answering it."""


class AskRejected(AskError):
    """The mailbox did not take the request, or dropped it for a newer message."""


class AskCycle(AskError):
    """The ask would close a circle of actors that wait for each other; it was not sent."""

    def __init__(self, *, message: str, cycle: tuple[str, ...]) -> None:
        super().__init__(path=cycle[1], message=message, reason="would wait for itself: " + " -> ".join(cycle))
        self.cycle = cycle


def unwrap(error: Exception) -> Exception:
    """The error that an exception group is about: its first leaf."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def error_text(error: BaseException) -> str:
    """`Type: text`, for logs and statistics; error texts must therefore be free of private data."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an error that cannot say what it is must not bring down who deals with it
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
