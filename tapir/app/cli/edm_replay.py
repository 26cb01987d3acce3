"""`tapir edm replay`: frames from a file or standard input, to an EDM that runs or through a pipeline of its own."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

from tapir.app.cli.commands import DONE, NOT_DONE, WRONG_INPUT
from tapir.app.cli.edm_sending import FrameSender, Receiver, ReceiverError
from tapir.app.config import ConfigErrors, EdmConfig
from tapir.app.config.edm import load_edm
from tapir.app.config.edmkeys import UPSTREAM_FILE
from tapir.codec.framestream import Ending, FrameStreamError
from tapir.model.blocks import FrameBlock
from tapir.model.errors import TapirError
from tapir.transport.framefiles import FrameFile, FrameFileError, open_frames
from tapir.transport.framestream import FrameStreamSettings

_AS_FAST_AS_IT_LOOKS: Final = 4
"""times a second that the bar is drawn"""


class ReplayError(TapirError):
    """The command cannot do what it should; `code` is what it exits with."""

    def __init__(self, reason: str, *, code: int) -> None:
        super().__init__(reason)
        self.code = code


@attrs.define(kw_only=True)
class Reading:
    """What was read, and what is wrong with it; every whole frame was passed on all the same."""

    file: str = ""
    frames: int = 0
    octets: int = 0
    unread: int = 0
    ending: str = ""
    trouble: str = ""
    """why not all of it could be used; empty: it could"""
    remark: str = ""


def read_through(
    path: Path, settings: FrameStreamSettings, take: Callable[[FrameBlock], None], *, show: bool
) -> Reading:
    """Pass every whole frame of `path` to `take`, with a progress bar if it is to be shown. Blocks.

    Raises ReplayError when there is no file that can be read, and what `take` raises.
    """
    reading = Reading(file=str(path))
    try:
        with open_frames(path, settings) as file:
            try:
                with _bar(file, show=show) as advance:
                    for block in file:
                        take(block)
                        advance()
            except FrameStreamError as exc:
                reading.trouble = _no_stream(exc, file)
            _summarise(reading, file)
    except FrameFileError as exc:
        raise ReplayError(str(exc), code=NOT_DONE) from exc
    return reading


def choose_receiver(to: str | None, config_dir: Path) -> tuple[Receiver, FrameStreamSettings]:
    """Where frames go: as the command line says, else where the configured EDM listens. Raises ReplayError."""
    if to is not None:
        return parse_receiver(to), FrameStreamSettings()
    config = load_config(config_dir)
    if config.input_unix is not None:
        return Receiver(unix=config.input_unix), config.frame_streams
    if config.input_tcp is not None:
        return Receiver(tcp=(config.input_tcp.host, config.input_tcp.port)), config.frame_streams
    raise ReplayError(
        "the configured input takes TLS, and this command sends in clear; name another input with --to, or use --into",
        code=WRONG_INPUT,
    )


def parse_receiver(text: str) -> Receiver:
    """`unix:PATH` or `tcp:HOST:PORT`, an IPv6 address in brackets. Raises ReplayError."""
    kind, _, rest = text.partition(":")
    if kind == "unix" and rest:
        return Receiver(unix=Path(rest))
    host, _, port = rest.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if kind == "tcp" and host and port.isdecimal() and 0 < int(port) < 1 << 16:
        return Receiver(tcp=(host, int(port)))
    raise ReplayError(f"--to {text}: allowed is unix:PATH or tcp:HOST:PORT", code=WRONG_INPUT)


def load_config(config_dir: Path) -> EdmConfig:
    """EDM's configuration. Raises ReplayError with every fault."""
    try:
        return load_edm(config_dir / UPSTREAM_FILE, environment=os.environ)
    except ConfigErrors as exc:
        raise ReplayError("\n".join(exc.lines), code=WRONG_INPUT) from exc


def replay_to(path: Path, receiver: Receiver, settings: FrameStreamSettings, *, show: bool) -> tuple[Reading, float]:
    """Send what `path` holds, and return when the receiver has it, with the seconds. Raises ReplayError.

    Nobody is connected with before there is a frame.
    """
    began = time.monotonic()
    sender: FrameSender | None = None
    sent = 0

    def take(block: FrameBlock) -> None:
        nonlocal sender, sent
        if sender is None:
            sender = receiver.connect()
        sender.send(block)
        sent += len(block)

    try:
        reading = read_through(path, settings, take, show=show)
        if sender is not None:
            sender.finish()
    except ReceiverError as exc:
        some = f"; {sent} frames were sent, and how many of them it took is not known" if sent else ""
        raise ReplayError(f"{exc}{some}", code=NOT_DONE) from exc
    finally:
        if sender is not None:
            sender.close()
    return reading, time.monotonic() - began


def _no_stream(exc: FrameStreamError, file: FrameFile) -> str:
    frames = file.summary().frames
    if not frames:
        return f"it is no stream of dnstap frames: {exc}"
    return f"what follows the first {frames} frames is no stream of frames: {exc}"


def _summarise(reading: Reading, file: FrameFile) -> None:
    summary = file.summary()
    reading.frames, reading.octets, reading.unread = summary.frames, summary.octets, summary.unread
    reading.ending = summary.ending.value
    if reading.trouble:
        return
    if summary.ending is Ending.TRUNCATED:
        reading.trouble = f"it is cut short: the last {summary.unread} octets are no whole frame"
    elif summary.ending is Ending.UNSTARTED:
        reading.trouble = "it is cut short: it ends before the first frame" if summary.octets else "it is empty"
    elif summary.ending is Ending.UNSTOPPED:
        reading.remark = "it ends without STOP, as when its writer was killed; every frame in it is whole"
    elif summary.unread:
        reading.remark = "something follows its end, and was not read"


@contextmanager
def _bar(file: FrameFile, *, show: bool) -> Iterator[Callable[[], None]]:
    """Shows how far `file` is read, on the terminal of standard error, and nowhere else."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("{task.fields[frames]:,} frames"),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    shown = show and console.is_terminal
    with Progress(
        *columns, console=console, transient=True, disable=not shown, refresh_per_second=_AS_FAST_AS_IT_LOOKS
    ) as progress:
        task = progress.add_task("replay", total=file.total, frames=0)
        yield lambda: progress.update(task, completed=file.done, frames=file.summary().frames)


def replay(path: Path, config_dir: Path, *, to: str | None, as_json: bool) -> int:
    """Send the frames of `path` to an EDM that runs, and say how it went; gives the exit code."""
    try:
        receiver, settings = choose_receiver(to, config_dir)
        reading, seconds = replay_to(path, receiver, settings, show=not as_json)
    except ReplayError as exc:
        print(f"tapir: {exc}", file=sys.stderr)
        return exc.code
    if as_json:
        document = {"to": str(receiver), "seconds": round(seconds, 3), **attrs.asdict(reading)}
        print(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        rate = f" ({reading.frames / seconds:,.0f} a second)" if reading.frames and seconds else ""
        print(f"{receiver} took {reading.frames:,} frames from {reading.file}{rate}")
    return finish(reading, quiet=as_json)


def finish(reading: Reading, *, quiet: bool) -> int:
    """Say what is to be said of the file, unless it was; gives the exit code."""
    if reading.remark and not quiet:
        print(f"{reading.file}: {reading.remark}")
    if not reading.trouble:
        return DONE
    used = f"; the {reading.frames} frames before that were used" if reading.frames else ""
    print(f"tapir: {reading.file}: {reading.trouble}{used}", file=sys.stderr)
    return WRONG_INPUT
