"""Whatever the files hold, loading ends in a `Config` or in `ConfigErrors`, and in nothing else."""

import json
import tempfile
from pathlib import Path
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from tapir.app.config import Config, ConfigErrors, load
from tapir.app.config.document import FILES
from tapir.app.config.files import Files, key_of
from tapir.app.config.keys import _PLACES, _section_of

KEYS = st.sampled_from(sorted(_PLACES)) | st.text(max_size=8)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["yes", "rpz", "drop", "redirect", "[::1]:53", "192.0.2.1", "file", "mqtt", "25%", ".", "*", "/"])
)
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))


def end_of(texts: list[bytes]) -> Config | ConfigErrors:
    with tempfile.TemporaryDirectory() as folder:
        for name, text in zip(FILES, texts, strict=True):
            (Path(folder) / name).write_bytes(text)
        try:
            return load(Path(folder))
        except ConfigErrors as exc:
            end = exc
    assert end.lines
    assert all(line.isprintable() and line.startswith(folder) for line in end.lines)
    return end


@given(st.lists(st.binary(max_size=60) | st.text(max_size=60).map(str.encode), min_size=4, max_size=4))
def test_any_octets(texts):
    end_of(texts)


def _shaped(model: type[Any]) -> st.SearchStrategy[Any]:
    """Sections that have known keys in the right places, with anything in them."""

    fields: dict[str, st.SearchStrategy[Any]] = {}
    for attribute in attrs.fields(model):
        kind = _section_of(attribute.type)
        if attrs.has(kind):
            inner = _shaped(kind)
        elif getattr(kind, "__origin__", None) is dict:
            inner = st.dictionaries(st.text(max_size=5), _shaped(kind.__args__[1]), max_size=2)
        else:
            inner = SCALARS | st.lists(SCALARS, max_size=2)
        fields[key_of(attribute)] = inner | TREES
    return st.fixed_dictionaries({}, optional=fields)


SOURCES = st.dictionaries(
    st.text(max_size=5),
    st.fixed_dictionaries(
        {"active": st.just(value=True), "type": st.sampled_from(["allowlist", "denylist", "doubtlist"])},
        optional=dict.fromkeys(("name", "source", "format", "filename", "required", "poll-interval"), SCALARS),
    ),
    max_size=3,
)


@given(st.lists(_shaped(Files) | TREES, min_size=4, max_size=4))
def test_any_values_under_known_keys(trees):
    end_of([json.dumps(tree).encode() for tree in trees])


@given(SOURCES)
def test_any_sources(sources):
    end_of([b"", json.dumps({"sources": sources}).encode(), b"", b""])
