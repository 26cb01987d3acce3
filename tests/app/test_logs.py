import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.errors import StartFailed
from tapir.app.logs import JsonFormatter, LogSettings, TextFormatter, configure_logging
from tapir.model.errors import TapirError


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    yield
    configure_logging(LogSettings(), stream=io.StringIO())
    for handler in list(root.handlers):
        if getattr(handler, "owned_by_tapir", False):
            root.removeHandler(handler)
    root.setLevel(level)


def test_a_record_is_one_line_with_time_level_and_logger():
    out = io.StringIO()
    configure_logging(LogSettings(), stream=out)
    logging.getLogger("tapir.x").warning("disk %s", "full")
    logging.getLogger("tapir.x").debug("not wanted")
    (line,) = out.getvalue().splitlines()
    time, level, logger, text = line.split(None, 3)
    assert time.endswith("Z")
    assert (level, logger, text) == ("warning", "tapir.x:", "disk full")


def test_json_has_one_object_a_record_and_the_exception_in_it():
    out = io.StringIO()
    configure_logging(LogSettings(json=True), stream=out)
    try:
        raise ValueError("line\nbreak")
    except ValueError:
        logging.getLogger("a").exception("it\nfailed")
    logging.getLogger("a").critical("over")
    documents = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [document["text"] for document in documents] == ["it\nfailed", "over"]
    assert "ValueError" in documents[0]["exception"]
    assert documents[1]["level"] == "error"


def test_a_second_line_cannot_pass_for_a_record():
    record = logging.LogRecord("a", logging.INFO, "f.py", 3, "first\n2026-11-21 error forged", None, None)
    assert TextFormatter().format(record).splitlines()[1].startswith("    ")
    assert TextFormatter(journal=True).format(record).startswith("<6>a: first")
    assert TextFormatter(source_lines=True).format(record).endswith("(f.py:3)")
    assert json.loads(JsonFormatter().format(record))["level"] == "info"


def test_files_are_written_beside_stderr_and_given_up_on_reload(tmp_path: Path):
    out = io.StringIO()
    file = tmp_path / "dns.log"
    settings = LogSettings(files={"actors.authority": file, "": tmp_path / "no" / "such.log"})
    (problem,) = configure_logging(settings, stream=out)
    assert str(tmp_path / "no" / "such.log") in problem
    logging.getLogger("actors.authority.server").info("served")
    logging.getLogger("elsewhere").info("other")
    assert "served" in file.read_text()
    assert "other" not in file.read_text()
    assert out.getvalue().count("\n") == 2
    assert configure_logging(LogSettings(), stream=out) == ()
    logging.getLogger("actors.authority.server").info("again")
    assert "again" not in file.read_text()


def test_it_follows_stderr_as_it_is_now(monkeypatch: pytest.MonkeyPatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    configure_logging(LogSettings(level="error"))
    logging.getLogger("a").error("seen")
    logging.getLogger("a").warning("unseen")
    assert out.getvalue().count("seen") == 1


def test_the_part_of_an_actor_goes_to_its_file_though_its_path_has_slashes(tmp_path: Path):
    file = tmp_path / "policy.log"
    configure_logging(LogSettings(files={"actors.evaluator": file}), stream=io.StringIO())
    for name in ("actors.evaluator/policy", "actors.evaluator", "actors.evaluators/x", "actors.authority/keeper"):
        logging.getLogger(name).info("said by %s", name)
    assert [line.rpartition("said by ")[2] for line in file.read_text().splitlines()] == [
        "actors.evaluator/policy",
        "actors.evaluator",
    ]


@pytest.mark.parametrize("json_", [False, True])
def test_an_error_of_ours_comes_without_a_traceback_also_when_the_runtime_passes_it_on(json_: bool):
    out = io.StringIO()
    configure_logging(LogSettings(json=json_), stream=out)

    def crash(cause: Exception) -> None:
        try:
            raise StartFailed(path="server", reason=str(cause)) from cause
        except StartFailed:
            logging.getLogger("actors").exception("crashed")

    crash(TapirError("cannot listen on 127.0.0.1:53: in use"))
    assert len(out.getvalue().splitlines()) == 1
    assert "Traceback" not in out.getvalue()
    crash(KeyError("a bug"))
    assert "Traceback" in out.getvalue()
