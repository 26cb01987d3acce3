"""One list fetched over HTTPS: from a POP of ours as a plain export, from an existing one as gob.

    POST {base}/ping                    404: another key, or no POP
    POST {base}/bootstrap               export-doubtlist as `jsonl` (docs/list-export.md), which only ours has
    POST {base}/bootstrap               export-doubtlist as `gob`; JSON alone says why not

`{base}` is the configured URL with a server in it; servers go in order until one has the list. Upstream's client also
asks for `doubtlist-status`, which its server answers with nothing: we do not need it. What is decoded, and whatever
reads a file, is work for a thread of the source's own.
"""

import ssl
from collections.abc import Callable
from typing import Final

import attrs
import trio

from tapir.codec.bootstrap import (
    EXPORT_TYPE,
    GOB,
    JSON_LINES,
    BodyError,
    BootstrapPost,
    encode_ping,
    encode_post,
    parse_pong,
    shown,
)
from tapir.codec.gob import GobError
from tapir.codec.listexport import ListExportError
from tapir.model.actions import ListKind
from tapir.model.errors import TapirError
from tapir.services.sources.bootstrap import BootstrapFailed, BootstrapResult, BootstrapSettings
from tapir.services.sources.bootstrap_reading import Snapshot, SnapshotRefused, read_export, read_gob
from tapir.services.sources.worker import FileWorker, Worker
from tapir.transport.http.client import Answer, HttpClient, HttpFailed, https_context, open_client
from tapir.transport.tls import TlsError

_SMALL: Final = 64 << 10
"""Octets of an answer that is no list."""
_KEY_FILE: Final = 4096
_OK, _NOT_FOUND = 200, 404


class _NotHere(TapirError):
    """This server does not give us the list; the text says why."""


class HttpBootstrapper:
    """Fetches the list `list_name` of `kind`; see `Bootstrapper`.

    All incarnations of a source may share one, and its thread with it: `worker` is where blocking work goes.
    """

    def __init__(
        self,
        settings: BootstrapSettings,
        *,
        list_name: str,
        kind: ListKind,
        now: Callable[[], int],
        worker: Worker | None = None,
    ) -> None:
        self._settings = settings
        self._list_name = list_name
        self._kind = kind
        self._now = now
        self._worker = worker if worker is not None else FileWorker()

    async def fetch(self) -> BootstrapResult:
        """What the first server with names says; that there are none only where all say so. Raises BootstrapFailed."""
        settings = self._settings
        try:
            access = await self._worker.run(_read_access, settings)
        except _NotHere as exc:
            raise BootstrapFailed(f"no bootstrap of the list {self._list_name}: {exc}") from exc
        reasons: list[str] = []
        empty: list[BootstrapResult] = []
        for server in settings.servers:
            try:
                result = await self._fetch_from(server, access)
            except _NotHere as exc:
                # The other side may have written some of it: our key, for instance.
                text = str(exc).replace(access.key, "***") if access.key else str(exc)
                reasons.append(f"{server}: {shown(text)}")
                continue
            if len(result.observations):
                return result
            # One that has just begun as well, or ourselves, where all have one configuration.
            empty.append(result)
            reasons.append(f"{server}: it holds no names")
        if empty and len(empty) == len(settings.servers):
            return empty[0]
        raise BootstrapFailed(
            f"no server has the list {self._list_name} for us: {'; '.join(reasons) or 'none is configured'}"
        )

    async def _fetch_from(self, server: str, access: "_Access") -> BootstrapResult:
        """What `server` says. Raises _NotHere."""
        settings = self._settings
        with trio.move_on_after(settings.deadline):
            try:
                async with open_client(access.context, patience=settings.patience) as client:
                    visit = _Visit(client, settings.url.replace("%s", server, 1), access.key, settings)
                    form, answer = await visit.find(self._list_name, self._kind)
                return await self._worker.run(self._read, server, form, answer)
            except (HttpFailed, SnapshotRefused) as exc:
                raise _NotHere(str(exc)) from exc
            except (GobError, ListExportError) as exc:
                raise _NotHere(f"what it sent is cut off or damaged: {exc}") from exc
        raise _NotHere(f"it was not done within {settings.deadline:g} s")

    def _read(self, server: str, form: str, answer: Answer) -> BootstrapResult:
        """Decode. Raises SnapshotRefused, GobError, ListExportError."""
        read: Callable[..., Snapshot] = read_export if form == "export" else read_gob
        now = self._now()
        found = read(answer.body, kind=self._kind, now=now, max_names=self._settings.name_limit)
        return BootstrapResult(
            server=server,
            form=form,
            fetched_at=now,
            observations=found.observations,
            expired=found.expired,
            refused=found.refused,
            reason=found.reason,
        )


class _Visit:
    """The conversation with one server."""

    def __init__(self, client: HttpClient, base: str, key: str, settings: BootstrapSettings) -> None:
        self._client = client
        self._base = base.rstrip("/")
        self._key = key
        self._settings = settings

    async def find(self, list_name: str, kind: ListKind) -> tuple[str, Answer]:
        """The list, and in which form. Raises _NotHere, HttpFailed."""
        await self._ping()
        command = f"export-{kind.value}"
        answer = await self._export(command, list_name, JSON_LINES)
        if answer.content_type == EXPORT_TYPE:
            return "export", answer
        return "gob", await self._export(command, list_name, GOB)

    async def _export(self, command: str, list_name: str, encoding: str) -> Answer:
        post = encode_post(BootstrapPost(command=command, list_name=list_name, encoding=encoding))
        answer = await self._ask("bootstrap", post, limit=self._settings.size_limit)
        self._check(answer)
        return answer

    async def _ping(self) -> None:
        answer = await self._ask("ping", encode_ping("bootstrap"), limit=_SMALL)
        if answer.status == _NOT_FOUND:
            raise _NotHere("it refuses the key, or is no POP (404); see `bootstrapkey` and `bootstrapurl`")
        self._check(answer)
        try:
            parse_pong(b"".join(answer.body))
        except BodyError as exc:
            raise _NotHere(f"it is no POP: of its answer to a ping, {exc}") from exc

    async def _ask(self, path: str, content: bytes, *, limit: int) -> Answer:
        headers = {"X-API-Key": self._key, "Content-Type": "application/json"}
        return await self._client.ask("POST", f"{self._base}/{path}", headers=headers, content=content, limit=limit)

    @staticmethod
    def _check(answer: Answer) -> None:
        if 300 <= answer.status < 400:
            raise _NotHere(f"it sends us elsewhere (status {answer.status}), where we do not go with a key")
        if answer.status != _OK:
            raise _NotHere(f"it answered with status {answer.status}")


@attrs.frozen(kw_only=True)
class _Access:
    """What was read from files for this attempt."""

    context: ssl.SSLContext = attrs.field(repr=False)
    key: str = attrs.field(repr=False)


def _read_access(settings: BootstrapSettings) -> _Access:
    """Read key and certificates. Blocks. Raises _NotHere."""
    try:
        context = https_context(
            verify=settings.verify, ca=settings.ca, certificate=settings.certificate, key=settings.private_key
        )
    except TlsError as exc:
        raise _NotHere(str(exc)) from exc
    return _Access(context=context, key=_read_key(settings))


def _read_key(settings: BootstrapSettings) -> str:
    key, where = settings.key, "`bootstrapkey`"
    if settings.key_file is not None:
        where = f"the key file {settings.key_file}"
        try:
            with settings.key_file.open("rb") as file:
                line = file.read(_KEY_FILE).partition(b"\n")[0].strip()
            key = line.decode("ascii")
        except OSError as exc:
            raise _NotHere(f"{where}: {exc.strerror}") from exc
        except UnicodeDecodeError:
            key = ""
        if not key:
            raise _NotHere(f"{where} holds no key; needed is one line of ASCII")
    # What a header cannot hold; an empty key is one that upstream's server takes any key for.
    if not key.isascii() or not key.isprintable() or key != key.strip():
        raise _NotHere(f"{where} holds no key; needed is one line of ASCII")
    return key
