"""Which components a configuration folder has, and the configuration of each, or all that is wrong with any.

A component is there when its main file is: `dnstapir-pop.yaml` for a POP, `dnstapir-edm.toml` for EDM. One process runs
all that are there; who wants a process for each says which.
"""

import enum
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from tapir.app.config.document import FILES, MAIN
from tapir.app.config.edm import COMMAND_LINE, edm_variable, load_edm
from tapir.app.config.edmfile import read_toml_file
from tapir.app.config.edmkeys import UPSTREAM_FILE
from tapir.app.config.edmrules import compare_edm, edm_after_reload
from tapir.app.config.edmsettings import KEYS, EdmConfig
from tapir.app.config.loading import check_folder, load, read_state_dir
from tapir.app.config.problems import ConfigErrors, Fault, Notice, Place
from tapir.app.config.process import DEFAULT_STATE_DIR
from tapir.app.config.reloading import after_reload, changes_needing_restart
from tapir.app.config.settings import CertificatesConfig, Config, LogConfig, WatchedCertificate

_OWN_FOLDER: Final = "tapir"
_DATA_DIR: Final = "data-dir"
_LOG: Final = LogConfig(level="info", format="text", source_lines=False, to_files=False, files=())


class Component(enum.StrEnum):
    """What a process can run."""

    POP = "pop"
    EDM = "edm"

    @property
    def file(self) -> str:
        """The file whose presence in the folder says that it is run."""
        return MAIN if self is Component.POP else UPSTREAM_FILE

    @property
    def label(self) -> str:
        """How it is called in a sentence."""
        return "a POP" if self is Component.POP else "EDM"


@attrs.frozen(kw_only=True)
class Setup:
    """What one process runs: the configuration of each component, None of one that it does not run."""

    config_dir: Path
    state_dir: Path
    pop: Config | None
    edm: EdmConfig | None
    notices: tuple[Notice, ...] = ()

    @property
    def components(self) -> tuple[Component, ...]:
        """Those that are run."""
        found = ((Component.POP, self.pop), (Component.EDM, self.edm))
        return tuple(component for component, config in found if config is not None)

    @property
    def log(self) -> LogConfig:
        """How this process logs: as POP's files say where a POP is run; `debug` of EDM's asks for more."""
        log = self.pop.log if self.pop is not None else _LOG
        return attrs.evolve(log, level="debug") if self.edm is not None and self.edm.debug else log

    @property
    def certificates(self) -> CertificatesConfig:
        """The certificates of all components, each once."""
        pop = self.pop.certificates if self.pop is not None else CertificatesConfig()
        known = {each.path for each in pop.watched}
        more = _edm_certificates(self.edm) if self.edm is not None else []
        return attrs.evolve(pop, watched=(*pop.watched, *(each for each in more if each.path not in known)))


def find_components(config_dir: Path) -> tuple[Component, ...]:
    """The components whose main file is there. Raises ConfigErrors where there is no folder to look into."""
    check_folder(config_dir)
    return tuple(component for component in Component if _is_there(config_dir / component.file))


def load_setup(
    config_dir: Path,
    state_dir: Path | None = None,
    *,
    only: Component | None = None,
    running: tuple[Component, ...] | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
) -> Setup:
    """The configuration of all components in `config_dir`, or of the one that `only` names.

    `running` are those that a process runs already, which no reload changes; `flags` are keys of EDM with their values,
    from the command line. Raises ConfigErrors with every fault of
    all of them. Blocks as long as the file system does.
    """
    found = find_components(config_dir)
    wanted = running if running is not None else _wanted(config_dir, found, only)
    folder = config_dir.absolute()
    pop: Config | None = None
    edm: EdmConfig | None = None
    faults: list[Fault] = []
    notices: list[Notice] = []
    if Component.POP in wanted:
        try:
            pop = load(config_dir, state_dir)
            notices += pop.notices
        except ConfigErrors as exc:
            faults += exc.errors
            notices += exc.notices
    if Component.EDM in wanted:
        try:
            variables = os.environ if environment is None else environment
            edm = load_edm(folder / UPSTREAM_FILE, environment=variables, flags=flags)
            notices += edm.notices
        except ConfigErrors as exc:
            faults += exc.errors
            notices += exc.notices
    elif flags:
        faults.append(Fault(place=COMMAND_LINE, key="", text=f"sets keys of EDM, which is not run: {', '.join(flags)}"))
    notices += _left_aside(folder, found, wanted, running=running is not None, only=only)
    if faults:
        raise ConfigErrors(errors=tuple(faults), notices=tuple(notices))
    kept = _kept_in(state_dir, pop, edm)
    return Setup(config_dir=folder, state_dir=kept, pop=pop, edm=edm, notices=tuple(notices))


def setup_changes_needing_restart(old: Setup, new: Setup) -> tuple[str, ...]:
    """The keys of all components whose change a reload does not take, as the files spell them."""
    found: tuple[str, ...] = ()
    if old.pop is not None and new.pop is not None:
        found += changes_needing_restart(old.pop, new.pop)
    if old.edm is not None and new.edm is not None:
        found += compare_edm(old.edm, new.edm).restart
    return found


def setup_after_reload(old: Setup, new: Setup) -> Setup:
    """What is in effect when a process that runs on `old` has taken of `new` what it can."""
    return attrs.evolve(
        old,
        pop=after_reload(old.pop, new.pop) if old.pop is not None and new.pop is not None else None,
        edm=edm_after_reload(old.edm, new.edm) if old.edm is not None and new.edm is not None else None,
        notices=new.notices,
    )


def edm_state_dir(data_dir: Path) -> Path:
    """Where the state of a process is that runs EDM alone."""
    return data_dir / _OWN_FOLDER


def candidate_state_dirs(config_dir: Path, *, first: Component = Component.POP) -> tuple[Path, ...]:
    """Where the state of a process may be that runs from `config_dir`, the likeliest first; never empty.

    What is wrong in the files does not matter. Two processes may run from one folder: POP's is named before EDM's
    unless EDM is to be the `first`.
    """
    pop = read_state_dir(config_dir) or DEFAULT_STATE_DIR
    if not _is_there(config_dir / UPSTREAM_FILE):
        return (pop,)
    edm = edm_state_dir(_read_data_dir(config_dir))
    if not _is_there(config_dir / MAIN):
        return (edm,)
    return (pop, edm) if first is Component.POP else (edm, pop)


def _wanted(config_dir: Path, found: tuple[Component, ...], only: Component | None) -> tuple[Component, ...]:
    if only is not None:
        return (only,)  # a file that is missing is named by who reads it
    if found:
        return found
    if any(_is_there(config_dir / file) for file in FILES):
        return (Component.POP,)  # as far as it goes: what is missing is named
    files = " nor ".join(f"{component.file} for {component.label}" for component in Component)
    text = f"there is neither {files}; needed is one of them, or both"
    raise ConfigErrors(errors=(Fault(place=Place(config_dir), key="", text=text),), notices=())


def _left_aside(
    folder: Path, found: tuple[Component, ...], wanted: tuple[Component, ...], *, running: bool, only: Component | None
) -> list[Notice]:
    """What is there and not run, where nobody said so."""
    notices: list[Notice] = []
    for component in found:
        if running and component not in wanted and only is None:
            text = f"{component.label} is configured now, and is run from the next restart on"
            notices.append(Notice(place=Place(folder / component.file), key="", text=text, warning=True))
    rest = [file for file in FILES if file != MAIN and _is_there(folder / file)]
    if rest and Component.POP not in wanted and only is None and not _is_there(folder / MAIN):
        text = f"is there, and without {MAIN} no POP is run"
        notices.append(Notice(place=Place(folder / rest[0]), key="", text=text, warning=True))
    return notices


def _kept_in(state_dir: Path | None, pop: Config | None, edm: EdmConfig | None) -> Path:
    if state_dir is not None:
        return state_dir.absolute()
    if pop is not None:
        return pop.state_dir
    if edm is None or edm.data_dir is None:
        raise AssertionError("a configuration without a data-dir is not loaded")
    return edm_state_dir(edm.data_dir)


def _read_data_dir(config_dir: Path) -> Path:
    variable = os.environ.get(edm_variable(_DATA_DIR))
    if variable:
        return Path.cwd() / variable  # as `load_edm` takes it
    written: object = read_toml_file(config_dir / UPSTREAM_FILE, needed=False).values.get(_DATA_DIR)
    text = written if isinstance(written, str) and written else str(KEYS[_DATA_DIR].default)
    return config_dir.absolute() / text


def _edm_certificates(edm: EdmConfig) -> list[WatchedCertificate]:
    mqtt, http, tls = not edm.disable_mqtt, not edm.disable_histogram_sender, edm.input_tls is not None
    named = (
        ("mqtt-client-cert-file", edm.mqtt_client_cert_file, edm.mqtt_client_key_file, mqtt),
        ("mqtt-ca-file", edm.mqtt_ca_file, None, mqtt),
        ("http-client-cert-file", edm.http_client_cert_file, edm.http_client_key_file, http),
        ("http-ca-file", edm.http_ca_file, None, http),
        ("input-tls-cert-file", edm.input_tls_cert_file, edm.input_tls_key_file, tls),
        ("input-tls-client-ca-file", edm.input_tls_client_ca_file, None, tls),
    )
    found: dict[Path, WatchedCertificate] = {}
    for label, path, key, used in named:
        if path is not None and used:
            found.setdefault(path, WatchedCertificate(label=label, path=path, key=key))
    return list(found.values())


def _is_there(path: Path) -> bool:
    """Whether there is something at `path`, which need not be of use: who reads it says what is wrong with it."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
