"""The certificates that are ours to renew: one that ends soon, or cannot be used, is an exceptional event.

Nothing is renewed here, and nobody waits for what is found: whoever uses a certificate reads it by itself.
"""

from pathlib import Path
from typing import Any, Final

import attrs

from actors import Actor, ActorRef, Context, Request
from tapir.codec.certificates import MAX_DOCUMENT, CertificateError, parse_certificates
from tapir.model.messages.events import ClearEvent, EventKind, RaiseEvent
from tapir.services.control.wording import moment
from tapir.transport.tls import TlsError, server_context

_SECOND: Final = 1_000_000
_DAY: Final = 86_400 * _SECOND


@attrs.frozen(kw_only=True)
class WatchedFile:
    """A file of certificates, called by its `label`: with `key` the certificate that goes with it, else authorities."""

    label: str
    path: Path
    key: Path | None = None


@attrs.frozen(kw_only=True)
class CertificateSettings:
    """Which files are looked at, every `interval` s, and how long before its end a certificate is worth a word.

    A file that cannot be used is looked at again after `patience` s before a word is said: it may just be replaced.
    """

    watched: tuple[WatchedFile, ...]
    warning_days: int = 30
    interval: float = 3600.0
    patience: float = 60.0


@attrs.frozen(kw_only=True)
class ConfigureCertificates(Request[None]):
    """These files are looked at from now on, and at once."""

    settings: CertificateSettings


@attrs.frozen(kw_only=True)
class LookAtCertificates:
    """Time to look."""


@attrs.frozen(kw_only=True)
class LookOnceMore:
    """A file could not be used a moment ago: is it so still?"""


CertificateMessage = ConfigureCertificates | LookAtCertificates | LookOnceMore


@attrs.frozen
class Finding:
    """What is wrong with one file; empty texts for nothing."""

    ends: str = ""
    unusable: str = ""


class CertificateKeeper(Actor[CertificateMessage]):
    """Raises and clears `certificate-expires` and `renewal-failed`, with the key of the configuration as subject."""

    def __init__(self, settings: CertificateSettings, *, events: ActorRef[Any]) -> None:
        self._settings = settings
        self._events = events
        self._doubtful = False

    async def started(self, ctx: Context[CertificateMessage]) -> None:
        """Look when everybody has started."""
        ctx.send_every(self._settings.interval, LookAtCertificates(), at_once=True)

    async def receive(self, ctx: Context[CertificateMessage], message: CertificateMessage) -> None:
        """Look; also at other files from now on."""
        if isinstance(message, ConfigureCertificates):
            gone = {each.label for each in self._settings.watched} - {each.label for each in message.settings.watched}
            self._settings = message.settings
            ctx.reply(None)
            for label in gone:
                self._tell(EventKind.CERTIFICATE_EXPIRES, label, "")
                self._tell(EventKind.RENEWAL_FAILED, label, "")
        await self._look(ctx, sure=isinstance(message, LookOnceMore))

    async def _look(self, ctx: Context[CertificateMessage], *, sure: bool) -> None:
        settings, doubtful = self._settings, False
        for file in settings.watched:
            finding = await ctx.run_blocking(look_at, file, settings.warning_days, ctx.now())
            if finding.unusable and not sure:
                doubtful = True
                continue
            self._tell(EventKind.RENEWAL_FAILED, file.label, finding.unusable)
            if not finding.unusable:
                self._tell(EventKind.CERTIFICATE_EXPIRES, file.label, finding.ends)
        if doubtful and not self._doubtful:
            ctx.send_after(settings.patience, LookOnceMore())
        self._doubtful = doubtful

    def _tell(self, kind: EventKind, subject: str, text: str) -> None:
        message = RaiseEvent(kind=kind, subject=subject, text=text) if text else ClearEvent(kind=kind, subject=subject)
        self._events.tell_nowait(message)  # what has no room is said at the next look


def look_at(file: WatchedFile, warning_days: int, now: int) -> Finding:
    """What is wrong with `file` at the time `now` (µs). Blocks."""
    what = f"the certificate {file.path}" if file.key is not None else f"the CA certificates {file.path}"
    try:
        with file.path.open("rb") as opened:
            certificates = parse_certificates(opened.read(MAX_DOCUMENT + 1))
        if file.key is not None:
            server_context(certificate=file.path, key=file.key)
    except OSError as exc:
        return Finding(unusable=f"{what} cannot be read: {exc.strerror}; {_STAYS}")
    except CertificateError as exc:
        return Finding(unusable=f"{what} cannot be used: {exc}; {_STAYS}")
    except TlsError as exc:
        return Finding(unusable=f"{exc}; {_STAYS}")
    # A chain is as good as its weakest part; of a bundle of authorities any may be the one that is needed, and some of
    # those that systems bring have always ended.
    choose = min if file.key is not None else max
    end = choose(certificate.not_after for certificate in certificates)
    if end - now > warning_days * _DAY:
        return Finding()
    named = certificates[0].common_name
    whose = f" of {named}" if named and file.key is not None else ""
    if end <= now:
        return Finding(ends=f"{what}{whose} ended at {moment(end)}: nobody who checks it accepts it; renew it")
    # Not how long that is: the sentence stays the same as long as what it says does, and so is told once.
    verb = "ends" if file.key is not None else "end"
    return Finding(ends=f"{what}{whose} {verb} at {moment(end)}, and can be used until then; renew it")


_STAYS: Final = "what was read before stays in use where it is"
