"""Move a corrupt database aside: kept for whoever wants to know why, out of the way of its successor."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tapir.store.database import SIDE_FILES, translated
from tapir.store.files import sync_folder

KEPT: Final = 3


def quarantine(path: Path, now_us: int) -> Path:
    """Rename the database at `path` and its side files to `<name>.corrupt-<UTC time>`; returns the new path.

    The side files keep their ending, so that the database still opens under its new name. Of earlier ones, the newest
    stay: at most `KEPT` in all. The store must be closed. Raises StoreFull when the folder cannot be written.
    """
    # Microseconds, so that two within one second have names that sort as they happened.
    moment = datetime.fromtimestamp(now_us // 1_000_000, tz=UTC)
    aside = path.with_name(f"{path.name}.corrupt-{moment:%Y%m%dT%H%M%S}.{now_us % 1_000_000:06d}Z")
    with translated(path):
        # The database first: should we be killed in between, a log without its database does no harm (a new
        # database begins by removing it), while a database without its log would be an older state.
        for side in ("", *SIDE_FILES):
            if (moving := path.with_name(path.name + side)).exists():
                moving.rename(aside.with_name(aside.name + side))
        _remove_oldest(path)
        sync_folder(path.parent)
    return aside


def _remove_oldest(path: Path) -> None:
    found = [kept for kept in path.parent.glob(f"{path.name}.corrupt-*") if not kept.name.endswith(SIDE_FILES)]
    for oldest in sorted(found)[:-KEPT]:
        for side in ("", *SIDE_FILES):
            oldest.with_name(oldest.name + side).unlink(missing_ok=True)
