"""Key files as the tools of the field write them."""

import base64
import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tapir.codec.keyfile import KeyFileError, read_key
from tapir.model.names import parse_name

NAME = parse_name("k.example")
SECRET = base64.b64encode(b"sixteen octets or more").decode()
BLOCK = f'key "k.example" {{\n\talgorithm hmac-sha512;\n\tsecret "{SECRET}";\n}};\n'


@pytest.mark.parametrize(
    ("text", "algorithm"),
    [
        (SECRET, None),
        (f"\n  {SECRET[:8]}\n{SECRET[8:]}\n", None),
        (f"# made by hand\n{SECRET}\n", None),
        (BLOCK, "hmac-sha512"),
        (f'key other {{ algorithm hmac-sha256; secret "YWJj"; }};\n// a comment\n{BLOCK}', "hmac-sha512"),
        (f"KEY K.Example. {{ Secret {SECRET}; }};", None),
        (f"# hmac-sha256:k.example.:x\nhmac-sha256:k.example.:{SECRET}\n", "hmac-sha256"),
        (f"k.example:{SECRET}", None),
    ],
)
def test_a_secret_is_found(text, algorithm):
    found = read_key(text, NAME)
    assert found.secret == b"sixteen octets or more"
    assert found.algorithm == algorithm
    assert "sixteen" not in repr(found)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no secret"),
        ("# only a comment", "no secret"),
        ("not base64!", "not base64"),
        (BLOCK.replace("k.example", "j.example"), "none of that name"),
        ('key "k.example" { algorithm hmac-sha256; };', "no `secret`"),
        ('key "k.example" { secret "§"; };', "not base64"),
        (f"hmac-sha256:j.example:{SECRET}", "another name"),
        (f"hmac-sha256:a..b:{SECRET}", "another name"),
    ],
)
def test_what_holds_none_is_said_without_what_stands_there(text, reason):
    with pytest.raises(KeyFileError, match=reason) as caught:
        read_key(text, NAME)
    assert SECRET not in str(caught.value)


@given(st.text(max_size=200))
@example(BLOCK)
@example("key " * 1000 + "{" * 1000)
def test_any_text_is_a_secret_or_an_error(text):
    with contextlib.suppress(KeyFileError):
        assert read_key(text, NAME).secret
