"""What messages of a broker say: believed, understood, and for this list; or refused, by reason. Blocking."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from tapir.codec.columns import joined, octets_of
from tapir.codec.jose import JwsRejected, Keystore, Rejection, verify_jws
from tapir.codec.observations import Observations, ObservationsRefused, parse_observations
from tapir.codec.ordering import take_names
from tapir.model.actions import ListKind
from tapir.model.blocks import ObservationBlock, WithdrawalBlock
from tapir.model.names import Name
from tapir.policy.admission import VERDICTS, verdicts_on
from tapir.policy.observed_digests import digest_of
from tapir.policy.observed_messages import Report
from tapir.policy.table import Flags
from tapir.services.sources.suffixes import load_suffix_test

DUPLICATE: Final = "duplicate"
WRONG_LIST: Final = "wrong-list"
OTHER_LIST: Final = "other-list"
"""for a source of ours that hears the same topic"""
NOT_A_NAME: Final = "not-a-name"
PAYLOAD: Final = "payload-"
"""Before the reasons for which a payload is refused, since some have the words of those for a signature."""

_REASONS: Final = {verdict: reason.replace("_", "-") for reason, verdict in VERDICTS.items()}


@attrs.frozen(kw_only=True)
class ReadingSettings:
    """For which list messages are, and who may sign them; None: every key of the keystore.

    `neighbours` are lists of other sources that hear the same topic.
    """

    name: str
    kind: ListKind
    zone: Name
    signers: Collection[str] | None = None
    broad: bool = False
    neighbours: frozenset[tuple[str, ListKind]] = frozenset()


@attrs.frozen(kw_only=True, eq=False)
class Read:
    """What messages say; `digests` are of those payloads, `refused` counts the others and single names by reason.

    `details` has an example of each reason, in words.
    """

    messages: int
    reports: tuple[Report, ...]
    digests: tuple[bytes, ...]
    refused: Counter[str]
    details: dict[str, str]

    @property
    def earliest(self) -> int | None:
        """The first deadline of what is added."""
        deadlines = [
            int(np.frombuffer(report.added.deadlines, np.int64).min()) for report in self.reports if len(report.added)
        ]
        return min(deadlines, default=None)


class Reader:
    """Reads messages for one list."""

    def __init__(self, settings: ReadingSettings) -> None:
        self._settings = settings

    def read(
        self,
        messages: Sequence[bytes],
        *,
        keystore: Callable[[], Keystore],
        known: Callable[[bytes], bool],
        now: int,
    ) -> Read:
        """What `messages` say, in order; `known` are digests of payloads that were taken before.

        What `keystore` raises passes through: then nothing was read.
        """
        keys = keystore()
        refused: Counter[str] = Counter()
        details: dict[str, str] = {}
        found: list[Observations] = []
        digests: dict[bytes, None] = {}

        def refuse(reason: str, detail: str) -> None:
            refused[reason] += 1
            details.setdefault(reason, detail)

        for message in messages:
            try:
                payload = self._verify(message, keys, keystore)
                digest = digest_of(payload)
                if digest in digests or known(digest):
                    refused[DUPLICATE] += 1
                    continue
                observations = parse_observations(payload)
            except JwsRejected as exc:
                refuse(exc.reason.value, exc.detail)
                continue
            except ObservationsRefused as exc:
                refuse(PAYLOAD + exc.reason.value, exc.detail)
                continue
            said = observations.source, observations.kind
            if said in self._settings.neighbours:
                refused[OTHER_LIST] += 1
                continue
            if said != (self._settings.name, self._settings.kind):
                refuse(WRONG_LIST, self._wrong_list(observations))
                continue
            if observations.refused:
                refused[NOT_A_NAME] += observations.refused
                for refusal in observations.refusals[:1]:
                    details.setdefault(NOT_A_NAME, f"entry {refusal.position} of `{refusal.member}`: {refusal.reason}")
            digests[digest] = None
            found.append(observations)
        return Read(
            messages=len(messages),
            reports=self._reports(found, refused, now),
            digests=tuple(digests),
            refused=refused,
            details=details,
        )

    def admitted(self, snapshot: ObservationBlock) -> ObservationBlock:
        """`snapshot` without names that such a list may not hold."""
        kept = np.flatnonzero(self._verdicts([snapshot], self._settings.kind) == 0).astype(np.uint32)
        if len(kept) == len(snapshot):
            return snapshot
        return ObservationBlock(
            names=take_names(snapshot.names, kept),
            tags=octets_of(np.frombuffer(snapshot.tags, np.uint32)[kept]),
            observed=octets_of(np.frombuffer(snapshot.observed, np.int64)[kept]),
            deadlines=octets_of(np.frombuffer(snapshot.deadlines, np.int64)[kept]),
        )

    def _verify(self, message: bytes, keys: Keystore, keystore: Callable[[], Keystore]) -> bytes:
        try:
            return verify_jws(message, keys, allowed=self._settings.signers).payload
        except JwsRejected as exc:
            # The key may have come since the file was looked at; otherwise it is refused for good.
            if exc.reason is not Rejection.UNKNOWN_KID or (now := keystore()) is keys:
                raise
            return verify_jws(message, now, allowed=self._settings.signers).payload

    def _wrong_list(self, observations: Observations) -> str:
        settings = self._settings
        return (
            f"it is for the {observations.kind.value} {_shown(observations.source)}, and this source is the "
            f"{settings.kind.value} {_shown(settings.name)}: `src_name` must be the source's `name`, and `list_type` "
            f"its `type`"
        )

    def _reports(self, found: Sequence[Observations], refused: Counter[str], now: int) -> tuple[Report, ...]:
        """The reports, without names that such a list may not hold."""
        reports = [
            Report(
                added=each.added,
                removed=each.removed,
                removed_at=now if each.timestamp is None else each.timestamp,
            )
            for each in found
        ]
        if not reports:
            return ()
        added = self._verdicts([report.added for report in reports], self._settings.kind)
        # What may be taken off a list is only a question of what a name is.
        removed = self._verdicts([report.removed for report in reports], ListKind.ALLOW)
        if added.any() or removed.any():
            refused.update(_REASONS[int(verdict)] for verdict in (*added[added != 0], *removed[removed != 0]))
            reports = list(_without(reports, added != 0, removed != 0))
        return tuple(reports)

    def _verdicts(self, blocks: Sequence[ObservationBlock | WithdrawalBlock], kind: ListKind) -> npt.NDArray[np.uint8]:
        return verdicts_on(
            joined([block.names for block in blocks]),
            kind=kind,
            zone=self._settings.zone,
            is_public_suffix=load_suffix_test(),
            broad=self._settings.broad,
        )


def _without(reports: Sequence[Report], added: Flags, removed: Flags) -> list[Report]:
    """`reports` without the entries so flagged."""
    unadded, unremoved = iter(added.tolist()), iter(removed.tolist())
    return [
        attrs.evolve(
            report,
            added=ObservationBlock.of([entry for entry in report.added if not next(unadded)]),
            removed=WithdrawalBlock.of([entry for entry in report.removed if not next(unremoved)]),
        )
        for report in reports
    ]


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
