"""A line a frame, with what a dnstap tool would say of it; whatever the frame is."""

import json
from pathlib import Path

import pytest
from dnstap_frames import dns_message, envelope, frame, message_fields, question, response
from hypothesis import given
from hypothesis import strategies as st

from tapir.model.blocks import FrameBlock
from tapir.model.names import parse_name
from tapir.services.ingest.debugging import DebugDump, describe_frames

ANSWER = frame(
    query_address=bytes((192, 0, 2, 1)),
    response_address=bytes(15) + b"\1",
    response_time=(1_779_971_660, 5000),
    response_message=response(parse_name("known.example")),
)


def test_what_a_line_says() -> None:
    (line,) = describe_frames(FrameBlock.of([ANSWER]))
    described = json.loads(line)
    message = described["message"]
    text = message.pop("response_message")
    assert "known.example. IN A" in text
    assert "192.0.2.1" in text
    assert described == {
        "type": "MESSAGE",
        "identity": "ns1",
        "message": {
            "type": "CLIENT_RESPONSE",
            "response_time": "2026-05-28T12:34:20.000005Z",
            "socket_family": "INET",
            "socket_protocol": "UDP",
            "query_address": "192.0.2.1",
            "response_address": "::1",
            "query_port": 40000,
            "response_port": 53,
        },
    }


@pytest.mark.parametrize(
    "odd",
    [
        envelope(None),
        frame(identity=b"\xff\n", response_message=b"\0"),
        frame(response_message=dns_message([question(b"\1\xff\0")], counts=(9, 9, 9, 9))),
        envelope(message_fields(query_address=b"abc", family=7, protocol=200, query_port=1 << 31, response_time=None)),
        frame(response_time=(1 << 60, 0)),
        frame(response_time=(1 << 40, 0)),
    ],
)
def test_odd_frames_get_a_line_too(odd: bytes) -> None:
    (line,) = describe_frames(FrameBlock.of([odd]))
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert json.loads(line)["type"] == "MESSAGE"


@given(st.lists(st.tuples(st.integers(0, len(ANSWER) - 1), st.integers(0, 255)), max_size=6))
def test_any_frame_gets_a_line(changes: list[tuple[int, int]]) -> None:
    octets = bytearray(ANSWER)
    for place, value in changes:
        octets[place] = value
    for line in describe_frames(FrameBlock.of([bytes(octets)])):
        json.loads(line)


def test_it_is_appended_to_and_says_why_it_is_not(tmp_path: Path) -> None:
    path = tmp_path / "dump.json"
    for _ in range(2):
        dump = DebugDump(path)
        assert dump.append(FrameBlock.of([ANSWER, ANSWER])) == ""
        dump.close()
        dump.close()
    assert path.read_bytes().count(b"\n") == 4
    assert path.stat().st_mode & 0o777 == 0o600
    assert DebugDump(tmp_path).append(FrameBlock.of([ANSWER])) == f"{tmp_path}: Is a directory"
