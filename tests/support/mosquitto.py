"""A mosquitto that a test starts and stops."""

import getpass
from collections.abc import Sequence
from pathlib import Path

import attrs
import trio
from peers import Daemon


@attrs.define(kw_only=True)
class Broker:
    """A mosquitto that can be stopped and started; it keeps sessions on disk."""

    folder: Path
    port: int
    program: str
    daemons: list[Daemon]
    lines: Sequence[str] = ()
    daemon: Daemon | None = None

    async def start(self) -> None:
        config = self.folder / "mosquitto.conf"
        config.write_text(
            "\n".join(
                (
                    # Started by root, it would become a user that may not write here.
                    f"user {getpass.getuser()}",
                    f"listener {self.port} 127.0.0.1",
                    "persistence true",
                    f"persistence_location {self.folder}/",
                    "max_queued_messages 0",
                    "set_tcp_nodelay true",
                    *(self.lines or ("allow_anonymous true",)),
                    "",
                )
            )
        )
        self.daemon = Daemon.start("mosquitto", [self.program, "-c", str(config)], directory=self.folder)
        self.daemons.append(self.daemon)
        with trio.fail_after(60):
            while True:
                try:
                    stream = await trio.open_tcp_stream("127.0.0.1", self.port)
                except OSError:
                    assert self.daemon.alive(), self.daemon.output()
                    await trio.sleep(0.02)
                else:
                    await stream.aclose()
                    return

    def stop(self) -> None:
        assert self.daemon is not None
        self.daemon.stop()

    def signal(self, number: int) -> None:
        assert self.daemon is not None
        self.daemon.process.send_signal(number)
