import json
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.model.actions import Action, ListKind
from tapir.services.control.protocol import (
    ProtocolError,
    parse_request,
    render_error,
    render_result,
    render_stream,
    to_plain,
)


def test_a_request_has_an_id_an_op_and_arguments():
    request = parse_request('{"id": 7, "op": "explain", "name": "bad.example"}')
    assert (request.id, request.op, request.text("name")) == (7, "explain", "bad.example")


@pytest.mark.parametrize(
    ("message", "code", "answered_id"),
    [
        ("{", "json", None),
        ("[1]", "json", None),
        ("[" * 100_000, "json", None),
        (b"\xff\xfe", "json", None),
        ('{"op": "status"}', "id", None),
        ('{"id": true, "op": "status"}', "id", None),
        ('{"id": 1.5, "op": "status"}', "id", None),
        ('{"id": 1}', "op", 1),
        ('{"id": "a", "op": 5}', "op", "a"),
    ],
)
def test_what_is_no_request_is_refused_by_reason(message: str | bytes, code: str, answered_id: object):
    with pytest.raises(ProtocolError) as caught:
        parse_request(message)
    assert caught.value.code == code
    assert json.loads(render_error(caught.value)) == {
        "id": answered_id,
        "error": {"code": code, "text": str(caught.value)},
    }


@pytest.mark.parametrize(
    "take",
    [
        lambda request: request.text("serial"),
        lambda request: request.text("missing"),
        lambda request: request.integer("name", lowest=0, highest=9),
        lambda request: request.integer("serial", lowest=0, highest=9),
        lambda request: request.integer("flag", lowest=0, highest=9),
        lambda request: request.integer("missing", lowest=0, highest=9),
    ],
)
def test_arguments_are_checked(take: Callable[[Any], object]):
    request = parse_request('{"id": 1, "op": "x", "name": "n", "serial": 10, "flag": true}')
    with pytest.raises(ProtocolError, match="x needs") as caught:
        take(request)
    assert caught.value.request_id == 1


def test_a_result_is_plain():
    @attrs.frozen
    class Part:
        action: Action
        kind: ListKind
        pairs: tuple[tuple[str, int], ...]
        names: frozenset[str]
        drops: Any = attrs.field(factory=lambda: MappingProxyType({"full": 2}))

    answer = json.loads(render_result("q", Part(Action.TCP_ONLY, ListKind.DENY, (("SOA", 3),), frozenset({"a"}))))
    assert answer == {
        "id": "q",
        "result": {
            "action": "TCP-ONLY",
            "kind": "denylist",
            "pairs": [["SOA", 3]],
            "names": ["a"],
            "drops": {"full": 2},
        },
    }
    assert json.loads(render_stream(3, None, lost=4)) == {"stream": 3, "data": None, "lost": 4}


@pytest.mark.parametrize("secret", [b"octets", object(), lambda: None])
def test_octets_and_handles_have_no_place_in_it(secret: object):
    with pytest.raises(TypeError, match="no place"):
        to_plain({"inside": [secret]})


@given(st.one_of(st.text(), st.binary()))
def test_any_garbage_is_a_protocol_error(message: str | bytes):
    try:
        parse_request(message)
    except ProtocolError:
        return
    assert json.loads(message)["op"]
