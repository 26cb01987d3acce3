"""dnstap blocks: what the libraries of the existing EDM make of the same octets, and the ways into a block."""

import json
from pathlib import Path
from typing import Any

import pytest
from dnstap_frames import CLIENT_RESPONSE, dns_message, frame, question, record, response

from tapir.codec.dnstap import Outcome, decode, expand_name, hashes_of
from tapir.codec.rdata import FIELDS
from tapir.model.blocks import EMPTY_NAMES, FrameBlock
from tapir.model.names import parse_name

VECTORS = Path(__file__).resolve().parents[1] / "vectors/dnstap"
SECRET = bytes(16)
RDATA: dict[str, dict[str, list[str]]] = json.loads((VECTORS / "rdata.json").read_text())
FRAMES: list[dict[str, Any]] = json.loads((VECTORS / "frames.json").read_text())
QUESTION = question(b"\x03www\x07example\0")


@pytest.mark.parametrize("rdtype", RDATA, ids=lambda rdtype: f"TYPE{rdtype}")
def test_rdata_is_judged_as_by_the_existing_library(rdtype: str) -> None:
    for verdict, outcome in (("good", Outcome.OK), ("bad", Outcome.UNPARSABLE)):
        for rdata in map(bytes.fromhex, RDATA[rdtype][verdict]):
            wire = dns_message([QUESTION], [record(b"\xc0\x0c", int(rdtype), rdata)])
            block = decode(FrameBlock.of([frame(response_message=wire)]), SECRET)
            assert block.outcome[0] == outcome, rdata.hex()


def test_every_type_has_its_vectors() -> None:
    assert {str(rdtype) for rdtype in FIELDS} <= RDATA.keys()
    # Of SSHFP, TLSA and SMIMEA any rdata is good.
    assert all(RDATA[str(rdtype)]["bad"] for rdtype in FIELDS.keys() - {44, 52, 53})
    assert all(RDATA[str(rdtype)]["good"] for rdtype, fields in FIELDS.items() if fields)


def test_frames_are_judged_as_by_the_existing_libraries() -> None:
    block = decode(FrameBlock.of([bytes.fromhex(vector["frame"]) for vector in FRAMES]), SECRET)
    for row, vector in enumerate(FRAMES):
        outcome = Outcome(int(block.outcome[row]))
        # There it is not told apart whether a message is missing.
        assert (Outcome.UNPARSABLE if outcome is Outcome.NO_DNS else outcome) == vector["outcome"]
        for column in vector.keys() - {"frame", "outcome", "name"}:
            assert getattr(block, column)[row] == vector[column], (column, vector["frame"])
        if "name" in vector:
            assert presentation(block.name_as_sent(row)) == vector["name"]


def presentation(name: bytes) -> str:
    """A name in wire form as the library writes it (edm.md §3.4)."""
    text = ""
    while name[0]:
        for octet in name[1 : 1 + name[0]]:
            sign = chr(octet)
            text += f"\\{sign}" if sign in " '@;()\"\\." else sign if " " < sign <= "~" else f"\\{octet:03}"
        text += "."
        name = name[1 + name[0] :]
    return text or "."


def test_a_row_tells_its_frame() -> None:
    wire = response(parse_name("www.example.com").upper().replace(b"\x03WWW", b"\x03WwW"))
    one = frame(
        query_address=b"\xc6\x33\x64\x14",
        response_address=b"\xc6\x33\x64\x35",
        query_port=12345,
        response_time=(1_700_000_001, 456_000),
        response_message=wire,
        identity=b"server-1",
    )
    block = decode(FrameBlock.of([frame(), one]), SECRET)
    assert block.name(1) == parse_name("www.example.com")
    assert block.name_as_sent(1) == b"\x03WwW\x07EXAMPLE\x03COM\0"
    assert block.query_address(1) == b"\xc6\x33\x64\x14"
    assert block.response_address(1) == b"\xc6\x33\x64\x35"
    assert block.identity(1) == b"server-1"
    assert block.wire(1) == wire
    assert (block.query_port[1], block.response_port[1]) == (12345, 53)
    assert block.time[1] == 1_700_000_001_000_456
    assert (block.message_type[1], block.family[1], block.protocol[1]) == (CLIENT_RESPONSE, 1, 1)
    assert (block.flags[1], block.opcode[1]) == (0x8180, 0)


def test_a_block_tells_nothing_of_clients() -> None:
    block = decode(FrameBlock.of([frame(query_address=b"\xc6\x33\x64\x14")]), SECRET)
    assert repr(block) == f"<DecodedBlock of 1 frames, {len(block.frames.data)} octets>"


@pytest.mark.parametrize("secret", [b"", bytes(15), bytes(17)])
def test_a_secret_has_sixteen_octets(secret: bytes) -> None:
    with pytest.raises(ValueError, match="16 octets"):
        hashes_of(EMPTY_NAMES, secret)


# -- several questions


def test_all_questions_are_counted() -> None:
    wire = dns_message([question(b"\1A\0"), question(b"\1b\xc0\x0c", 28, 3), b"\xc0\x0c"])
    block = decode(FrameBlock.of([frame(response_message=wire)]), SECRET)
    assert (block.outcome[0], block.questions[0]) == (Outcome.OK, 3)


def test_one_bad_name_of_several_spoils_the_message() -> None:
    wire = dns_message([question(b"\1A\0"), question(b"\x40b\0")])
    assert decode(FrameBlock.of([frame(response_message=wire)]), SECRET).outcome[0] == Outcome.UNPARSABLE


@pytest.mark.parametrize("wire", [b"", b"\1", b"\1a", b"\x40", b"\xc0\0", b"\xc0", b"\xc0\2\xc0\0", b"\xff\xff"])
def test_what_is_no_name(wire: bytes) -> None:
    with pytest.raises(ValueError, match="no name"):
        expand_name(wire, 0)
