"""amqtt, a broker of MQTT 3.1.1 in Python, embedded by trio-asyncio: its event loop runs inside Trio's."""

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import trio
import trio_asyncio  # type: ignore[import-untyped]
from amqtt.broker import Broker  # type: ignore[import-untyped]

_log = logging.getLogger("amqtt.embedded")


def _log_only(_: Any, context: dict[str, Any]) -> None:
    # Else a client that leaves in the wrong moment would end the program that embeds the broker.
    _log.debug("%s", context.get("message"))


@contextlib.asynccontextmanager
async def embedded(port: int) -> AsyncIterator[None]:
    """A broker on 127.0.0.1 that lets everybody in, for as long as the block lasts."""
    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    async with trio_asyncio.open_loop() as loop:
        loop.set_exception_handler(_log_only)
        broker = Broker(config, loop=loop)
        await trio_asyncio.aio_as_trio(broker.start)()
        try:
            yield
        finally:
            with trio.move_on_after(5, shield=True):
                await trio_asyncio.aio_as_trio(broker.shutdown)()
