"""`tapir dawg`: making DAWG files of lists, and looking into them. Nothing here needs a configuration or a process."""

import json
import os
import stat
import sys
from array import array
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from tapir.app.cli.commands import DONE, NOT_DONE, WRONG_INPUT
from tapir.codec.csvlist import ListShapeError, parse_csv
from tapir.codec.dawg import Dawg, DawgError, encode_dawg, parse_dawg
from tapir.codec.lists import ListTooLongError, ParsedList, parse_domains, parse_entry
from tapir.model.errors import TapirError
from tapir.model.names import ROOT, Name, NameSyntaxError, format_name, is_wildcard, parent_of
from tapir.store.files import replace_file

_BLOCK: Final = 1 << 20

dawg_app = typer.Typer(help="Make DAWG files of lists, and look into them.", no_args_is_help=True)


class Format(StrEnum):
    """How the list is written that a DAWG is made of."""

    CSV = "csv"
    TEXT = "text"


# Not `exists` and `readable`: what is wrong with a file is said in our own words.
DawgFile = Annotated[Path, typer.Option("--dawg", metavar="FILE", readable=False, help="The DAWG file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class DawgCommandError(TapirError):
    """The command cannot do what it should, and changed nothing; `code` is what it exits with."""

    def __init__(self, reason: str, *, code: int) -> None:
        super().__init__(reason)
        self.code = code


@dawg_app.command("compile")
def compile_command(
    form: Annotated[Format, typer.Option("--format", help="How SRC is written: csv, or text with a name a line.")],
    src: Annotated[Path, typer.Option("--src", metavar="FILE", readable=False, help="The list.")],
    dawg: Annotated[Path, typer.Option("--dawg", metavar="OUT", help="Where the DAWG goes; replaced in one step.")],
    column: Annotated[
        str | None, typer.Option("--column", help="Of a csv file: the title of the column with the names.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a DAWG file of a list."""
    _run(lambda: compile_list(form, src, dawg, column=column, as_json=as_json))


@dawg_app.command("lookup")
def lookup_command(
    dawg: DawgFile,
    name: Annotated[str, typer.Option("--name", help="A name, or `.name` for all names below it.")],
    as_json: AsJson = False,
) -> None:
    """Say whether a DAWG file holds a name, exactly as it is."""
    _run(lambda: look_up(dawg, name, as_json=as_json))


@dawg_app.command("list")
def list_command(dawg: DawgFile, as_json: AsJson = False) -> None:
    """Print what a DAWG file holds, a name a line, in order."""
    _run(lambda: list_words(dawg, as_json=as_json))


def compile_list(form: Format, src: Path, out: Path, *, column: str | None, as_json: bool) -> None:
    """Put the DAWG of what `src` says at `out`, or leave `out` as it is. Raises DawgCommandError."""
    if column is not None and form is not Format.CSV:
        raise DawgCommandError("--column is for --format csv only", code=WRONG_INPUT)
    target = Path(os.path.realpath(out))
    try:
        if target.exists() and target.samefile(src):
            raise DawgCommandError(f"{out} is the list itself; name another --dawg", code=WRONG_INPUT)
        parsed = parse_csv(_blocks(src), column=column) if form is Format.CSV else parse_domains(_blocks(src))
    except OSError as exc:
        raise _unreadable(src, exc) from exc
    except (ListShapeError, ListTooLongError) as exc:
        raise DawgCommandError(f"{src}: {exc}; nothing was written", code=WRONG_INPUT) from exc
    words = _words_of(src, parsed)
    distinct = sorted(set(words))
    try:
        data = encode_dawg(distinct)
    except DawgError as exc:
        raise DawgCommandError(f"{src}: {exc}; nothing was written", code=WRONG_INPUT) from exc
    _replace(target, data)
    twice = len(words) - len(distinct)
    if as_json:
        _print_json({"dawg": str(out), "names": len(distinct), "duplicates": twice, "octets": len(data)})
    else:
        print(
            f"{out}: {_counted(len(distinct), 'name')}, {len(data)} octets" + (f" ({twice} given twice)" * (twice > 0))
        )


def look_up(path: Path, name: str, *, as_json: bool) -> None:
    """Print at which place of `path` the name is, if it is. Raises DawgCommandError."""
    dawg = _open(path)
    spellings = _spellings(name)
    found = next((word for word in spellings if word in dawg), None)
    index = None if found is None else dawg.index(found)
    if as_json:
        _print_json({"name": found or spellings[0], "found": found is not None, "index": index})
    elif found is None:
        print("Name not found")
    else:
        print(f"Name {_shown(found)} found, index: {index}")


def list_words(path: Path, *, as_json: bool) -> None:
    """Print the words of `path`; JSON: one document a line. Raises DawgCommandError."""
    for index, word in enumerate(_open(path)):
        print(json.dumps({"index": index, "name": word}) if as_json else _shown(word))


def _words_of(src: Path, parsed: ParsedList) -> list[str]:
    """What the DAWG holds for each name; refuses the list when not all of it could be used."""
    lines: list[int] = [line for refusal in parsed.refusals for line in refusal.lines]
    count = sum(refusal.count for refusal in parsed.refusals)
    words: list[str] = []
    for name, line in zip(parsed.names, array("I", parsed.lines), strict=True):
        if is_wildcard(name) and parent_of(name) == ROOT:
            lines.append(line)  # `.` is the root itself, and nothing says "everything below it"
            count += 1
        else:
            words.append(_word_of(name))
    if count:
        shown = ", ".join(map(str, sorted(lines)[:10])) + (", ..." if count > 10 else "")
        what = f"line {shown} is no entry" if count == 1 else f"{count} lines are no entries: {shown}"
        raise DawgCommandError(f"{src}: {what}; nothing was written", code=WRONG_INPUT)
    return words


def _word_of(name: Name) -> str:
    """A name as DAWGs spell it: a dot in front where all names below it are meant."""
    return f".{format_name(parent_of(name))}" if is_wildcard(name) else format_name(name)


def _spellings(text: str) -> list[str]:
    """The words that may stand for `text`: as `compile` spells it, and as it was typed, for files that others made."""
    words: list[str] = []
    try:
        names = parse_entry(text)
    except NameSyntaxError:
        names = ()
    if len(names) == 1:
        words.append(_word_of(names[0]))
    backslashes = len(text.removesuffix(".")) - len(text.removesuffix(".").rstrip("\\"))
    words.append(text if text.endswith(".") and backslashes % 2 == 0 else f"{text}.")
    return words


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _open(path: Path) -> Dawg:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DawgCommandError(f"{path}: is not a regular file", code=NOT_DONE)
        return parse_dawg(path.read_bytes())
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    except DawgError as exc:
        raise DawgCommandError(f"{path}: is no DAWG: {exc}", code=WRONG_INPUT) from exc


def _replace(target: Path, data: bytes) -> None:
    """Put `data` at `target` in one step; who may read what was there may read what comes."""
    owner = None
    try:
        if target.exists():
            before = target.stat()
            if not stat.S_ISREG(before.st_mode):
                raise DawgCommandError(f"{target}: is not a regular file; nothing was written", code=NOT_DONE)
            mode = stat.S_IMODE(before.st_mode)
            owner = (before.st_uid, before.st_gid) if os.geteuid() == 0 else None
        else:
            mask = os.umask(0)
            os.umask(mask)
            mode = 0o666 & ~mask
        replace_file(target, data, mode=mode, owner=owner)
    except OSError as exc:
        raise DawgCommandError(f"{target}: {exc.strerror or exc}; nothing was written", code=NOT_DONE) from exc


def _unreadable(path: Path, exc: OSError) -> DawgCommandError:
    return DawgCommandError(f"{exc.filename or path}: {exc.strerror or exc}", code=NOT_DONE)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def _shown(word: str) -> str:
    """A word for the terminal: what others put into a file must not steer it."""
    plain = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in word)
    encoding = sys.stdout.encoding or "utf-8"
    return plain.encode(encoding, "backslashreplace").decode(encoding)


def _print_json(document: Any) -> None:
    print(json.dumps(document, ensure_ascii=False, indent=2))


def _run(command: Callable[[], None]) -> None:
    try:
        command()
    except DawgCommandError as exc:
        print(f"tapir: {exc}", file=sys.stderr)
        raise typer.Exit(exc.code) from None
    raise typer.Exit(DONE)
