"""How minimising stands, put together for those who ask."""

from pathlib import Path

from tapir.minimiser.account import Account
from tapir.minimiser.pipeline import PipelineStatistics
from tapir.model.messages.edm import AccountStatus, ListFile, MinimiserStatus
from tapir.services.ingest.lists import Loaded
from tapir.services.ingest.minimisersettings import MinimiserSettings
from tapir.services.ingest.writing import Writer


def status_of(
    statistics: PipelineStatistics | None,
    *,
    account: Account,
    lists: Loaded | None,
    settings: MinimiserSettings,
    writer: Writer,
    spooling: bool,
    trouble: str,
) -> MinimiserStatus:
    """The status; without `statistics` or `lists` as of somebody who has not begun."""
    pseudonyms = None if statistics is None else statistics.pseudonyms
    return MinimiserStatus(
        account=AccountStatus(
            received=account.received,
            in_flight=account.in_flight,
            settled=tuple([(fate.kind, fate.reason, count) for fate, count in account.settled.items() if count]),
        ),
        interval_started_at=0 if statistics is None else statistics.start,
        interval_names=0 if statistics is None else statistics.names,
        interval_responses=0 if statistics is None else statistics.responses,
        session_rows=0 if statistics is None else statistics.session_rows,
        histograms_written=writer.histograms,
        session_files_written=writer.session_files,
        rows_lost=writer.rows_lost,
        well_known=_unread(settings.well_known) if lists is None else lists.well_known.file(),
        ignored_clients=_unread(settings.ignored_clients) if lists is None else lists.ignored_clients.file(),
        ignored_names=_unread(settings.ignored_names) if lists is None else lists.ignored_names.file(),
        pseudonyms=0 if pseudonyms is None else pseudonyms.entries,
        pseudonym_generation=0 if pseudonyms is None else pseudonyms.generation,
        pseudonym_octets=0 if pseudonyms is None else pseudonyms.octets,
        pseudonym_hits=0 if pseudonyms is None else pseudonyms.hits,
        pseudonym_misses=0 if pseudonyms is None else pseudonyms.misses,
        pseudonym_evicted=0 if pseudonyms is None else pseudonyms.evicted,
        spooling=spooling,
        replayed=writer.replayed,
        trouble=trouble,
    )


def _unread(path: Path | None) -> ListFile:
    return ListFile(path="" if path is None else str(path))
