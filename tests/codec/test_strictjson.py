"""JSON with one meaning, and as Go decodes it: what Python's reader forgives is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.gojson import FieldError, Fields
from tapir.codec.strictjson import JsonError, load_json, load_object, type_word

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(VALUES)
def test_any_value_comes_back(value):
    assert load_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "no JSON"),
        (b"1 2", "no JSON"),
        (b"\xef\xbb\xbf1", "no JSON"),
        ("1".encode("utf-16"), "not UTF-8"),
        (b"NaN", "NaN is no number"),
        (b"[-Infinity]", "-Infinity is no number"),
        (b'{"a":1,"b":2,"a":3}', "a member twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"1" * 5000, "too many digits"),
        (b"'secret'", "no JSON"),
    ],
)
def test_what_has_no_meaning_or_two_is_refused(data, told):
    with pytest.raises(JsonError, match=told) as caught:
        load_json(data)
    assert "secret" not in str(caught.value)


@given(st.binary(max_size=100))
def test_any_octets_are_json_or_refused(data):
    try:
        value = load_json(data)
    except JsonError:
        return
    assert json.loads(data.decode()) == value


def test_objects_and_what_the_others_are_called():
    assert load_object(b"{}") == {}
    for value, word in ((b"null", "null"), (b"true", "a boolean"), (b'""', "a string"), (b"1", "a number")):
        with pytest.raises(JsonError, match=word):
            load_object(value)
    assert [type_word(value) for value in (list[int](), dict[str, int](), 1.5)] == ["an array", "an object", "a number"]


def test_members_as_go_finds_them():
    fields = Fields(
        {"TEXT": "t", "nothing": None, "Number": -3, "Times": ["2025-01-01T00:00:00Z"], "inner": {"A": {"b": 1}}}
    )
    assert (fields.text("text"), fields.text("nothing"), fields.text("absent")) == ("t", "", "")
    assert (fields.integer("number", -3, 3), fields.integer("absent", 1, 1)) == (-3, 0)
    assert fields.texts("times") == ["2025-01-01T00:00:00Z"]
    assert fields.has("TEXT")
    assert not fields.has("nothing")
    with pytest.raises(FieldError, match=r"`inner\.A\.b` is a number, not a string"):
        fields.inner("inner").inner("A").text("b")
    with pytest.raises(FieldError, match="it has a member in two spellings"):
        Fields({"a": 1, "A": 1})
    with pytest.raises(FieldError, match="it is an array, not an object"):
        Fields([])
