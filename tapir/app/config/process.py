"""`log`, `state-dir` and what this version does not run."""

from pathlib import Path
from typing import Final

from tapir.app.config.files import Files
from tapir.app.config.problems import format_key
from tapir.app.config.report import Report, Section
from tapir.app.config.settings import LogConfig
from tapir.app.config.values import one_of, path_in

LEVELS: Final = ("debug", "info", "warning", "error")
DEFAULT_STATE_DIR: Final = Path("/var/lib/dnstapir/tapir")


def map_log(report: Report, files: Files, folder: Path) -> LogConfig:
    """What is logged, how, and into which files besides stderr."""
    section = Section(report, ("log",))
    to_files = bool(files.log.to_files)
    named = (
        ("main", ("log", "file"), files.log.file),
        ("dnsengine", ("dnsengine", "logfile"), files.dnsengine.logfile),
        ("mqtt", ("tapir", "mqtt", "logfile"), files.tapir.mqtt.logfile),
        ("policy", ("policy", "logfile"), files.policy.logfile),
    )
    given = [(component, path, file) for component, path, file in named if file]
    if to_files and not files.log.file:
        report.missing(("log", "file"), "needed with `log.to-files: true` is the path of the main log")
    elif given and not to_files:
        keys = ", ".join(format_key(path) for _, path, _ in given)
        report.note(given[0][1], f"the log goes to stderr only; with `log.to-files: true` also to {keys}")
    return LogConfig(
        level=section.parse("level", files.log.level, one_of(*LEVELS), "debug" if files.log.debug else "info"),
        format=section.parse("format", files.log.format, one_of("text", "json"), "text"),
        source_lines=(files.log.mode or "").lower() == "debug",
        to_files=to_files,
        files=tuple((component, report.parse(path, file, path_in(folder), folder)) for component, path, file in given),
    )


def map_state_dir(report: Report, files: Files, folder: Path, state_dir: Path | None) -> Path:
    """Where state goes: what the command line says, else the file, else the default."""
    if state_dir is not None:
        return state_dir.absolute()
    return Section(report, ()).parse("state-dir", files.state_dir or None, path_in(folder), DEFAULT_STATE_DIR)


def note_what_is_not_run(report: Report, files: Files) -> None:
    """One notice for each part that is configured, and that is not there to be configured."""
    engine = ("services", "refreshengine", "active")
    if files.services.refreshengine.active is not None:
        report.note(
            engine, "accepted and ignored: there is no such engine to switch off, every source looks after itself"
        )
