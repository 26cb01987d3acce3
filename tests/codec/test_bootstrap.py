"""The bodies of `/ping` and `/bootstrap`, as Go writes and reads them."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.bootstrap import (
    MAX_TEXT,
    BodyError,
    BootstrapPost,
    BootstrapResponse,
    TopicData,
    encode_ping,
    encode_post,
    encode_response,
    parse_pong,
    parse_post,
    parse_response,
    shown,
)
from tapir.codec.rfc3339 import YEAR_ONE

NOON = 1_740_830_400_000_000


def test_a_request_has_gos_names() -> None:
    post = BootstrapPost(command="export-doubtlist", list_name="dns-tapir", encoding="gob")
    assert encode_post(post) == b'{"Command":"export-doubtlist","ListName":"dns-tapir","Encoding":"gob"}\n'
    assert parse_post(encode_post(post)) == post


def test_a_request_is_read_in_any_case_and_with_members_missing() -> None:
    assert parse_post(b'{"command":"x","LISTNAME":"y","more":[1]}') == BootstrapPost(command="x", list_name="y")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"Command":1}', b"\xff"])
def test_what_is_no_request(body: bytes) -> None:
    with pytest.raises(BodyError):
        parse_post(body)


def test_an_answer_has_all_members() -> None:
    assert encode_response(BootstrapResponse(time=NOON, status="ok")) == (
        b'{"Time":"2025-03-01T12:00:00Z","Status":"ok","Msg":"","TopicData":null,"Error":false,"ErrorMsg":""}\n'
    )


def test_topics_are_as_gos_reader_takes_them() -> None:
    topics = (TopicData(topic="obs/t", messages=3, latest=NOON), TopicData(topic="other", messages=1 << 40))
    members = json.loads(encode_response(BootstrapResponse(topics=topics)))
    assert members["Time"] == "0001-01-01T00:00:00Z"
    assert members["TopicData"]["obs/t"] == {
        "Topic": "obs/t",
        "SigningKey": None,
        "Sign": False,
        "Validate": True,
        "PubMode": "",
        "SubMode": "raw",
        "SubscriberCh": None,
        "PubMsgs": 0,
        "SubMsgs": 3,
        "LatestPub": "0001-01-01T00:00:00Z",
        "LatestSub": "2025-03-01T12:00:00Z",
    }
    assert members["TopicData"]["other"]["SubMsgs"] == 0xFFFF_FFFF


@given(st.text(max_size=50), st.text(max_size=50), st.booleans(), st.integers(YEAR_ONE, NOON * 3))
def test_an_answer_comes_back(status: str, text: str, error: bool, time: int) -> None:
    response = parse_response(
        encode_response(BootstrapResponse(time=time, status=status, msg=text, error=error, error_msg=text))
    )
    assert response == BootstrapResponse(
        time=time, status=shown(status), msg=shown(text), error=error, error_msg=shown(text)
    )


@pytest.mark.parametrize("body", [b"", b"null", b'{"Error":"no"}', b'{"Time":""}', b'{"Error":true,"error":true}'])
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(BodyError):
        parse_response(body)


def test_a_ping_and_its_answer() -> None:
    assert encode_ping("hello", 2) == b'{"Msg":"hello","Pings":2}\n'
    pong = parse_pong(b'{"Time":"x","Msg":"tapir-pop says \\u001b[2J pong","Pings":3,"Pongs":7}')
    assert (pong.msg, pong.pings, pong.pongs) == ("tapir-pop says ?[2J pong", 3, 7)
    for body in (b"404 page not found", b'{"Pings":1.5}', b"[1]"):
        with pytest.raises(BodyError):
            parse_pong(body)


def test_texts_of_others_are_cut_and_harmless() -> None:
    assert shown("a\nb\x1b" + "c" * 1000) == "a?b?" + "c" * (MAX_TEXT - 4)


@given(st.binary(max_size=200))
def test_any_octets(data: bytes) -> None:
    for parse in (parse_post, parse_pong, parse_response):
        with contextlib.suppress(BodyError):
            parse(data)
