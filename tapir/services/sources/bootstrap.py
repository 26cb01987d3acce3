"""Bootstrap as an observation source sees it: another POP says at once what would take days to be observed again.

The source subscribes first and holds what arrives, fetches, merges by name (newer wins, what has ended is skipped),
and then applies what it held. What is fetched is names, tags, times and deadlines: nothing of the other's identity or
configuration comes along, whatever it sends.

    bootstrapper = HttpBootstrapper(settings, list_name="dns-tapir", kind=ListKind.DOUBT, now=ctx.now)
    ctx.start_soon(keep_trying, bootstrapper, deliver, wanted, ctx.log)

`keep_trying` ends with the first success; a source that is told to fetch again starts it again.
"""

import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Protocol

import attrs
import trio

from actors import Context
from tapir.model.blocks import ObservationBlock
from tapir.model.errors import TapirError

FIRST_PAUSE: Final = 10.0
LONGEST_PAUSE: Final = 900.0
"""Seconds between attempts: twice as long after each, and up to half of that more or less."""
LONGEST_WAIT: Final = 30.0
"""Seconds for which messages are held back."""


@attrs.frozen(kw_only=True)
class BootstrapSettings:
    """Where one list may be had; `url` has one `%s` for the server (`name-or-address:port`), servers go in order.

    `key` is X-API-Key; with `key_file` it is what that file holds (its first line), read again for each attempt, as are
    the certificates. `ca` None trusts what the system trusts. Times in seconds for one server, sizes in octets.
    """

    servers: tuple[str, ...]
    url: str
    key: str = attrs.field(default="", repr=False)
    key_file: Path | None = None
    verify: bool = True
    """whether the server's certificate must be good and its own"""
    ca: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    patience: float = 10.0
    """for a connection, and for each piece of an answer"""
    deadline: float = 300.0
    size_limit: int = 256 << 20
    name_limit: int = 2_000_000


class BootstrapFailed(TapirError):
    """No server had the list; the text is a sentence that says why of each, and holds no key."""


@attrs.frozen(kw_only=True, eq=False)
class BootstrapResult:
    """What one server said: each name once, and nothing that had ended at `fetched_at`.

    `refused` counts entries whose names are none (`reason` is of the first), `expired` those that had ended.
    """

    server: str
    """as it stands in the configuration"""
    form: str
    """`export` (JSON Lines) or `gob`"""
    fetched_at: int
    observations: ObservationBlock
    expired: int = 0
    refused: int = 0
    reason: str = ""


class Bootstrapper(Protocol):
    """Fetches one list from whoever has it."""

    async def fetch(self) -> BootstrapResult:
        """What the first server that has the list says of it. Raises BootstrapFailed; bounded in time and size."""
        ...


async def keep_trying(
    bootstrapper: Bootstrapper,
    deliver: Callable[[BootstrapResult | BootstrapFailed], Awaitable[object]],
    wanted: Callable[[], bool],
    log: logging.LoggerAdapter[logging.Logger],
) -> None:
    """Fetch until it succeeds; only once where it is not `wanted` as this begins (a list that has something already).

    `deliver` gets the result. Before that it gets the first failure, or, after `LONGEST_WAIT`, that it takes its time:
    whoever holds back messages lets go of them then, since merging by name is right at any later time, too. A failure
    is logged once, and the success that follows it.
    """
    needed = wanted()
    try:
        result = await _first(bootstrapper, deliver)
    except BootstrapFailed as exc:
        then = "it is tried again in a while" if needed else "it is tried again with the next start, or when told to"
        log.warning("%s; what is held stays, and %s", exc, then)
        await deliver(exc)
        if not needed:
            return
        result = await _again(bootstrapper)
    log.info(
        "bootstrap: %d names from %s (%s); %d had ended, %d are no names",
        len(result.observations),
        result.server,
        result.form,
        result.expired,
        result.refused,
    )
    await deliver(result)


class OneMore:
    """A further attempt that an operator asks for, one at a time; nothing waits for it, since it is merged by name."""

    def __init__(self) -> None:
        self._running = False

    def begin(
        self,
        ctx: Context[Any],
        bootstrapper: Bootstrapper,
        deliver: Callable[[BootstrapResult | BootstrapFailed], Awaitable[object]],
    ) -> str:
        """Begin it, unless one is under way; the sentence says which. It ends as in `keep_trying`."""
        if self._running:
            return "a bootstrap is under way already; the log tells what comes of it"
        self._running = True
        ctx.start_soon(self._run, bootstrapper, deliver, ctx.log, name="bootstrap-again")
        return "other POPs are asked; the log tells what they say"

    async def _run(
        self,
        bootstrapper: Bootstrapper,
        deliver: Callable[[BootstrapResult | BootstrapFailed], Awaitable[object]],
        log: logging.LoggerAdapter[logging.Logger],
    ) -> None:
        try:
            await keep_trying(bootstrapper, deliver, lambda: False, log)
        finally:
            self._running = False


async def _first(
    bootstrapper: Bootstrapper, deliver: Callable[[BootstrapResult | BootstrapFailed], Awaitable[object]]
) -> BootstrapResult:
    """The first attempt, for which others wait, though not for ever. Raises BootstrapFailed."""

    async def end_the_wait() -> None:
        await trio.sleep(LONGEST_WAIT)
        await deliver(BootstrapFailed(f"bootstrap takes longer than {LONGEST_WAIT:g} s, and goes on"))

    end: BootstrapResult | BootstrapFailed
    async with trio.open_nursery() as nursery:
        nursery.start_soon(end_the_wait)
        try:
            end = await bootstrapper.fetch()
        except BootstrapFailed as exc:
            end = exc
        nursery.cancel_scope.cancel()
    if isinstance(end, BootstrapFailed):
        raise end
    return end


async def _again(bootstrapper: Bootstrapper) -> BootstrapResult:
    """Further attempts until one succeeds, with longer and longer pauses."""
    pause = FIRST_PAUSE
    while True:
        await trio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  spreading, no secret
        pause = min(2 * pause, LONGEST_PAUSE)
        with contextlib.suppress(BootstrapFailed):  # told already
            return await bootstrapper.fetch()
