"""A source whose plain names are subtrees, from the file to what the list keeper is told."""

from pathlib import Path

import pytest

from tapir.model.actions import ListKind
from tapir.model.names import format_name, parse_name
from tapir.services.sources.content import Progress, ReadingSettings, look_at, read_list

LINES = ["evil.example", "*.strict.example", ".below.example", "||both.example^", "com", "co.uk", "*.", "a b"]
EXACT = ["*.below.example.", "*.both.example.", "*.strict.example.", "both.example.", "evil.example."]
SUBTREE = [
    "*.below.example.",
    "*.both.example.",
    "*.evil.example.",
    "*.strict.example.",
    "both.example.",
    "evil.example.",
]


@pytest.mark.parametrize(("match", "names"), [("exact", EXACT), ("subtree", SUBTREE)])
@pytest.mark.parametrize("form", ["domains", "csv"])
def test_a_plain_name_is_what_the_source_says(tmp_path: Path, form: str, match: str, names: list[str]) -> None:
    path = tmp_path / "list"
    path.write_text("".join(f"1,{line}\n" for line in ["name", *LINES]) if form == "csv" else "\n".join(["#", *LINES]))
    settings = ReadingSettings(
        path=path,
        kind=ListKind.DENY,
        zone=parse_name("dnstapir."),
        broad=False,
        size_limit=1 << 20,
        format=form,
        match=match,
    )
    admitted = read_list(settings, look_at(path), Progress())
    assert sorted(format_name(name) for name in admitted.content.names) == sorted(names)
    assert [(refusal.reason, refusal.lines) for refusal in admitted.refusals] == [
        ("malformed", (9,)),
        ("too_broad", (6, 7, 8)),
    ]
