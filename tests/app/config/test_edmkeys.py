"""Values from the environment and the command line, written as Go's flags are."""

import contextlib

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.app.config.edmkeys import Kind, read_text
from tapir.app.config.edmsettings import KEYS
from tapir.app.config.report import Invalid


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Kind.NUMBER, "0x1F", 31),
        (Kind.NUMBER, "010", 8),
        (Kind.NUMBER, "0o10", 8),
        (Kind.NUMBER, "0b11", 3),
        (Kind.NUMBER, "-5", -5),
        (Kind.NUMBER, "0", 0),
        (Kind.NUMBER, "", None),
        (Kind.NUMBER, "1 ", None),
        (Kind.NUMBER, "1_0", None),
        (Kind.NUMBER, "09", None),
        (Kind.NUMBER, "9" * 5000, None),
        (Kind.DECIMAL, "010", 10),
        (Kind.DECIMAL, "0x10", None),
        (Kind.DECIMAL, "-1", None),
        (Kind.SECONDS, "1.5", 1.5),
        (Kind.SECONDS, "nan", None),
        (Kind.SECONDS, "1e9", None),
        (Kind.FLAG, "T", True),
        (Kind.FLAG, "0", False),
        (Kind.FLAG, "yes", None),
        (Kind.FLAG, "", None),
    ],
)
def test_values_as_text(kind: Kind, text: str, value: object) -> None:
    key = attrs.evolve(KEYS["debug"], kind=kind)
    if value is None:
        with pytest.raises(Invalid):
            read_text(key, text)
    else:
        assert read_text(key, text) == value


@pytest.mark.parametrize("kind", list(Kind))
@given(text=st.text())
def test_any_text_is_a_value_or_is_none(kind: Kind, text: str) -> None:
    with contextlib.suppress(Invalid):
        assert isinstance(read_text(attrs.evolve(KEYS["debug"], kind=kind), text), str | int | float)
