"""The pages lead where they say, and every page can be found."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = sorted(
    path
    for path in (*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), *(REPOSITORY / "deploy").rglob("*.md"))
    if not path.is_relative_to(REPOSITORY / "docs/changes") or path.name == "README.md"
)
NOTES = sorted(set((REPOSITORY / "docs/changes").glob("*.md")) - set(PAGES))


def anchors_of(page: Path) -> set[str]:
    """The anchors that a forge makes of the headings of a page."""
    headings = re.findall(r"^#+ +(.+?) *$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links_of(page: Path) -> Iterator[str]:
    """The targets of a page's links, but for those on the web."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if not re.match(r"[a-z]+:", target):
            yield target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in links_of(page):
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), f"{target}: no such file"
        assert not anchor or anchor in anchors_of(other), f"{target}: no such heading"


@pytest.mark.parametrize("note", NOTES, ids=lambda note: note.name)
def test_links_of_a_note_lead_somewhere_from_the_changelog(note: Path) -> None:
    for target in links_of(note):
        path, _, anchor = target.partition("#")
        assert (REPOSITORY / path).is_file(), f"{target}: no such file beside CHANGELOG.md"
        assert not anchor or anchor in anchors_of(REPOSITORY / path), f"{target}: no such heading"


def test_every_page_is_in_the_index() -> None:
    index = REPOSITORY / "docs/index.md"
    listed = {(index.parent / target.partition("#")[0]).resolve() for target in links_of(index)}
    listed |= {
        (REPOSITORY / "docs/decisions" / target).resolve()
        for target in links_of(REPOSITORY / "docs/decisions/README.md")
    }
    missing = {page for page in (REPOSITORY / "docs").rglob("*.md") if page in PAGES} - listed - {index}
    assert not missing
