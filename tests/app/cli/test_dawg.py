"""`tapir dawg` on real files: what it makes, what it says, and what it leaves alone when it cannot."""

import json
import os
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tapir.app.cli.main import app
from tapir.codec.dawg import encode_dawg, parse_dawg

VECTORS = Path(__file__).resolve().parents[2] / "vectors/dawg"


def dawg(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["dawg", *map(str, arguments)])


def make(folder: Path, text: str, *arguments: str, form: str = "text") -> Result:
    source = folder / "list.txt"
    source.write_bytes(text.encode())
    return dawg("compile", "--format", form, "--src", source, "--dawg", folder / "out.dawg", *arguments)


def words_in(folder: Path) -> list[str]:
    return list(parse_dawg((folder / "out.dawg").read_bytes()))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ignored-question-names.empty.dawg", "# nothing\n\n"),
        ("ignored-question-names.valid1.dawg", "example.com\n.example.net"),
        ("ignored-question-names.valid2.dawg", "example.org.\r\n*.EXAMPLE.edu.\r\nexample.org\r\n"),
        ("ignored.dawg", "slaskzonen.se # ours\n"),
    ],
)
def test_published_files_are_made_of_their_names(tmp_path: Path, name: str, text: str) -> None:
    made = make(tmp_path, text)
    assert made.exit_code == 0, made.output
    assert (tmp_path / "out.dawg").read_bytes() == (VECTORS / name).read_bytes()


def test_a_list_of_names_becomes_words_in_order(tmp_path: Path) -> None:
    made = make(tmp_path, "||b.example^\nräksmörgås.se\nA.example\na.example.\n0.0.0.0 c.example a.b.example\n")
    assert made.output == f"{tmp_path}/out.dawg: 6 names, 66 octets (1 given twice)\n"
    assert words_in(tmp_path) == [
        ".b.example.", "a.b.example.", "a.example.", "b.example.", "c.example.", "xn--rksmrgs-5wao1o.se.",
    ]  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), [((), ["b.example."]), (("--column", "first"), ["a.example."])])
def test_a_csv_file_is_read_by_its_column(tmp_path: Path, arguments: tuple[str, ...], words: list[str]) -> None:
    made = make(tmp_path, 'first,second,third\na.example,b.example,"two\nlines"\n', *arguments, "--json", form="csv")
    assert json.loads(made.stdout) == {
        "dawg": f"{tmp_path}/out.dawg", "names": 1, "duplicates": 0, "octets": len(encode_dawg(words)),
    }  # fmt: skip
    assert words_in(tmp_path) == words


@pytest.mark.parametrize(
    ("form", "text", "arguments", "reason"),
    [
        ("text", "a.example\nb c\n", (), "{src}: line 2 is no entry; nothing was written"),
        ("text", "*\n*.\na.example\nx/y\n", (), "{src}: 3 lines are no entries: 1, 2, 4; nothing was written"),
        ("text", "/\n" * 12, (), "{src}: 12 lines are no entries: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ...; "
         "nothing was written"),
        ("csv", "", (), "{src}: is no list in format csv: it is empty, and not even a header tells that it should be; "
         "nothing was written"),
        ("csv", "name\na.example\n", (), "{src}: is no list in format csv: it has one column, and the second is read "
         "unless `column` names another; nothing was written"),
        ("csv", "no,name\n1,a.example,x\n", (), "{src}: line 2 is no entry; nothing was written"),
        ("text", "a.example\n", ("--column", "x"), "--column is for --format csv only"),
    ],
)  # fmt: skip
def test_a_list_that_is_not_all_names_changes_nothing(
    tmp_path: Path, form: str, text: str, arguments: tuple[str, ...], reason: str
) -> None:
    (tmp_path / "out.dawg").write_bytes(b"old")
    made = make(tmp_path, text, *arguments, form=form)
    assert (made.exit_code, made.stdout) == (2, "")
    assert made.stderr == f"tapir: {reason.format(src=tmp_path / 'list.txt')}\n"
    assert (tmp_path / "out.dawg").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.txt", "out.dawg"]


def test_more_than_the_format_can_count_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapir.codec.dawg.writing.MAX_COUNT", 3)
    made = make(tmp_path, "a.example\n")
    assert (made.exit_code, made.stderr) == (
        2, f"tapir: {tmp_path}/list.txt: 11 nodes are more than the format can count (3); nothing was written\n",
    )  # fmt: skip
    assert not (tmp_path / "out.dawg").exists()


def test_what_is_replaced_keeps_its_rights_and_its_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    real = tmp_path / "there/real.dawg"
    real.touch(mode=0o640)
    real.chmod(0o640)
    (tmp_path / "out.dawg").symlink_to(real)
    before = real.stat().st_ino
    assert make(tmp_path, "a.example").exit_code == 0
    assert (tmp_path / "out.dawg").is_symlink()
    assert list(parse_dawg(real.read_bytes())) == ["a.example."]
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert real.stat().st_ino != before, "who has the old one mapped keeps it"


def test_a_new_file_has_the_rights_that_the_mask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        assert make(tmp_path, "a.example").exit_code == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out.dawg").stat().st_mode) == 0o640


def test_where_no_file_can_be_written(tmp_path: Path) -> None:
    source = tmp_path / "list.txt"
    source.write_text("a.example\n")
    for out, code, reason in (
        (tmp_path, 1, f"{tmp_path}: is not a regular file; nothing was written"),
        (tmp_path / "none/out.dawg", 1, f"{tmp_path}/none/out.dawg: No such file or directory; nothing was written"),
        (source, 2, f"{source} is the list itself; name another --dawg"),
    ):
        made = dawg("compile", "--format", "text", "--src", source, "--dawg", out)
        assert (made.exit_code, made.stderr) == (code, f"tapir: {reason}\n")
    assert source.read_text() == "a.example\n"


def test_a_list_that_cannot_be_read(tmp_path: Path) -> None:
    for source, reason in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        made = dawg("compile", "--format", "text", "--src", source, "--dawg", tmp_path / "out.dawg")
        assert (made.exit_code, made.stderr) == (1, f"tapir: {source}: {reason}\n")
    assert not (tmp_path / "out.dawg").exists()


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("example.com", "Name example.com. found, index: 1"),
        ("EXAMPLE.com.", "Name example.com. found, index: 1"),
        (".example.net", "Name .example.net. found, index: 0"),
        ("*.example.net.", "Name .example.net. found, index: 0"),
        ("example.net", "Name not found"),
        ("www.example.net", "Name not found"),
        ("||example.com^", "Name not found"),
        ("two words", "Name not found"),
    ],
)
def test_a_name_is_looked_up(name: str, answer: str) -> None:
    asked = dawg("lookup", "--dawg", VECTORS / "ignored-question-names.valid1.dawg", "--name", name)
    assert (asked.exit_code, asked.output) == (0, f"{answer}\n")


def test_a_name_is_looked_up_for_programs() -> None:
    file = VECTORS / "ignored-question-names.valid1.dawg"
    asked = dawg("lookup", "--dawg", file, "--name", "Example.COM", "--json")
    assert json.loads(asked.output) == {"name": "example.com.", "found": True, "index": 1}
    asked = dawg("lookup", "--dawg", file, "--name", "Example.ORG", "--json")
    assert json.loads(asked.output) == {"name": "example.org.", "found": False, "index": None}


@pytest.mark.parametrize(("typed", "word"), [("Two Words", "Two Words."), ("a\\.", "a\\.."), ("a\\\\.", "a\\\\.")])
def test_words_that_others_put_into_a_file_are_found_as_they_are(tmp_path: Path, typed: str, word: str) -> None:
    (tmp_path / "out.dawg").write_bytes(encode_dawg([word]))
    assert "found, index: 0" in dawg("lookup", "--dawg", tmp_path / "out.dawg", "--name", typed).output


def test_words_are_listed_in_order(tmp_path: Path) -> None:
    file = tmp_path / "out.dawg"
    file.write_bytes(encode_dawg(["\x1b[2Jevil\n.", "a.example.", "ä.se."]))
    assert dawg("list", "--dawg", file).output == "\\x1b[2Jevil\\n.\na.example.\nä.se.\n"
    lines = [json.loads(line) for line in dawg("list", "--dawg", file, "--json").output.splitlines()]
    assert lines == [
        {"index": 0, "name": "\x1b[2Jevil\n."}, {"index": 1, "name": "a.example."}, {"index": 2, "name": "ä.se."},
    ]  # fmt: skip
    assert dawg("list", "--dawg", VECTORS / "ignored-question-names.empty.dawg").output == ""


def test_what_was_listed_makes_the_same_file(tmp_path: Path) -> None:
    listed = dawg("list", "--dawg", VECTORS / "ignored-question-names.valid1.dawg").output
    assert make(tmp_path, listed).exit_code == 0
    assert (tmp_path / "out.dawg").read_bytes() == (VECTORS / "ignored-question-names.valid1.dawg").read_bytes()


@pytest.mark.parametrize("command", [("list",), ("lookup", "--name", "a.example")])
def test_a_file_that_is_no_dawg(tmp_path: Path, command: tuple[str, ...]) -> None:
    file = tmp_path / "out.dawg"
    file.write_bytes(encode_dawg(["a.example."])[:-1])
    for path, code, reason in (
        (file, 2, f"{file}: is no DAWG: it says that it has 22 octets, and has 21"),
        (tmp_path, 1, f"{tmp_path}: is not a regular file"),
        (tmp_path / "none", 1, f"{tmp_path}/none: No such file or directory"),
    ):
        asked = dawg(*command, "--dawg", path)
        assert (asked.exit_code, asked.stdout, asked.stderr) == (code, "", f"tapir: {reason}\n")
