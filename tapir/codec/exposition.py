"""What Prometheus reads: families of metrics made by a table of what may be said, and the page that shows them.

A family that is not in its table cannot be made, so a page of the documentation that has the table has all of them.
Whose name ends in `_total` is a counter, all else are gauges.
"""

from collections.abc import Iterable, Iterator, Mapping

import attrs
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

Sample = tuple[str, tuple[str, ...], float]
"""Of which metric, with which labels, which value"""


@attrs.frozen
class MetricText:
    """What a metric says, and by which labels."""

    text: str
    labels: tuple[str, ...] = ()


def make_families(table: Mapping[str, MetricText], samples: Iterable[Sample]) -> Iterator[Metric]:
    """The families that there is something to say of, in the order of `table`.

    Of two samples with the same labels the last is left: Prometheus takes nothing of a page that has both.
    """
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for name, labels, value in samples:
        found.setdefault(name, {})[labels] = value
    if unknown := found.keys() - table.keys():
        raise AssertionError(f"not in the table of metrics: {', '.join(sorted(unknown))}")
    for name, described in table.items():
        if name not in found:
            continue
        kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
        family = kind(name, described.text, labels=described.labels)
        for labels, value in found[name].items():
            family.add_metric(labels, value)
        yield family


def write_page(made: Iterable[Metric], accept: str, *, more: Iterable[Collector] = ()) -> tuple[bytes, str]:
    """The page and its type, in the format that the header `accept` wants; `more` is collected behind what is `made`.

    A registry of its own: two pages of one process share nothing.
    """
    registry = CollectorRegistry(auto_describe=False)
    for collector in (_Made(made), *more):
        registry.register(collector)
    encode, kind = choose_encoder(accept)
    page: bytes = encode(registry)
    return page, kind


class _Made(Collector):
    """A collector, as prometheus_client wants one, of families that are made already."""

    def __init__(self, made: Iterable[Metric]) -> None:
        self._made = tuple(made)

    def collect(self) -> Iterable[Metric]:
        """The families."""
        return self._made
