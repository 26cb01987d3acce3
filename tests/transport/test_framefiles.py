"""Files of frames: read to the last whole frame, with a word about how they ended."""

import io
import os
from pathlib import Path

import pytest
from framestreams import file_octets

from tapir.codec.framestream import Ending, FrameStreamError, Refusal
from tapir.transport.framefiles import FileSummary, FrameFile, FrameFileError, open_frames
from tapir.transport.framestream import FrameStreamSettings

SETTINGS = FrameStreamSettings(block_octets=4096, frame_limit=4096)
FRAMES = [bytes([number % 256]) * (number % 900 + 1) for number in range(500)]


def test_a_file_comes_in_blocks_with_its_progress(tmp_path: Path) -> None:
    path = tmp_path / "a.fstrm"
    path.write_bytes(file_octets(FRAMES))
    done = []
    frames: list[bytes] = []
    with open_frames(path, SETTINGS) as file:
        for block in file:
            frames += block
            done.append(file.done)
        assert file.total == path.stat().st_size == file.done
    assert frames == FRAMES
    assert len(done) > 10
    assert done == sorted(done)
    assert file.summary() == FileSummary(ending=Ending.STOPPED, frames=500, octets=path.stat().st_size, unread=0)


@pytest.mark.parametrize(
    ("octets", "ending", "frames", "unread"),
    [
        (b"", Ending.UNSTARTED, 0, 0),
        (file_octets([])[:30], Ending.UNSTARTED, 0, 30),
        (file_octets([b"one", b"two"])[:-12], Ending.UNSTOPPED, 2, 0),
        (file_octets([b"one", b"two"])[:-13], Ending.TRUNCATED, 1, 6),
        (file_octets([b"one", b"two"])[:-1], Ending.TRUNCATED, 2, 11),
        (file_octets([b"one"]) + b"rest", Ending.STOPPED, 1, 4),
    ],
)
def test_it_is_told_exactly_what_was_read(octets: bytes, ending: Ending, frames: int, unread: int) -> None:
    file = FrameFile(io.BytesIO(octets), SETTINGS)
    assert sum(map(len, file)) == frames
    assert file.total is None
    assert file.summary() == FileSummary(ending=ending, frames=frames, octets=len(octets), unread=unread)


def test_what_was_good_comes_before_what_is_not() -> None:
    file = FrameFile(io.BytesIO(file_octets([b"one"])[:-12] + b"\x7f\xff\xff\xff"), SETTINGS)
    blocks = iter(file)
    assert list(next(blocks)) == [b"one"]
    with pytest.raises(FrameStreamError) as caught:
        next(blocks)
    assert caught.value.refusal is Refusal.FRAME_LENGTH
    assert file.summary().frames == 1


def test_another_content_is_refused() -> None:
    with pytest.raises(FrameStreamError, match="dnstap"):
        list(FrameFile(io.BytesIO(file_octets([b"one"], content_type=b"other")), SETTINGS))


def test_standard_input_is_a_file_or_a_pipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    octets = file_octets([b"one"])
    read, write = os.pipe()
    os.write(write, octets)
    os.close(write)
    (tmp_path / "file").write_bytes(octets)
    for source, total in ((os.fdopen(read), None), ((tmp_path / "file").open(), len(octets))):
        with source:
            monkeypatch.setattr("sys.stdin", source)
            with open_frames(Path("-"), SETTINGS) as file:
                assert [list(block) for block in file] == [[b"one"]]
                assert file.total == total


def test_a_pipe_that_does_not_block_is_refused() -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    with os.fdopen(read, "rb", buffering=0) as file, os.fdopen(write, "wb"), pytest.raises(BlockingIOError):
        list(FrameFile(file, SETTINGS))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(FrameFileError, match=r"none\.fstrm: No such file"),
        open_frames(tmp_path / "none.fstrm", SETTINGS),
    ):
        pass
    with pytest.raises(FrameFileError, match="directory"), open_frames(tmp_path, SETTINGS) as file:
        list(file)
