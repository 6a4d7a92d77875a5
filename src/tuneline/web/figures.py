"""`GET /metrics`: what the server has under way, in Prometheus' text format.

Asked of the record each time, so a server that was just started says the same. Who may ask is decided where
it is for everything (`web.access`): a scraper from elsewhere sends a token, one that only reads will do.
Limits: gauges alone; what endpoints answer is counted by their routers and runtimes.
"""

from collections.abc import Iterator, Mapping

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tuneline.actions.ports import Server
from tuneline.record.figures import Counted, Figures

STATES = {
    "runs": ("PENDING", "RUNNING", "CANCELING", "SUCCEEDED", "FAILED", "CANCELED"),
    "tasks": ("PENDING", "RUNNING"),
}
"""Those that are shown when there is none of them, too: an alert on `== 0` needs a number."""


class _Shown(Collector):
    """One answer's figures."""

    def __init__(self, counted: Counted, server: Server) -> None:
        self._counted, self._server = counted, server

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See `prometheus_client`."""
        yield _gauge("tuneline_build_info", "The version that runs.", ("version",), {self._server.version: 1})
        started = GaugeMetricFamily(
            "tuneline_server_start_time_seconds", "When it was started, Unix seconds."
        )
        started.add_metric((), self._server.started_at)
        yield started
        counted = self._counted
        runs = {**dict.fromkeys(STATES["runs"], 0), **counted.runs}
        yield _gauge("tuneline_runs", "Runs on record.", ("state",), runs)
        tasks = {**dict.fromkeys(STATES["tasks"], 0), **counted.tasks}
        yield _gauge("tuneline_tasks", "Tasks of runs that have not ended.", ("state",), tasks)
        yield _gauge("tuneline_releases", "Releases on record.", ("state",), counted.releases)
        shown = GaugeMetricFamily(
            "tuneline_endpoint_phase", "1: how it stands.", labels=("endpoint", "phase")
        )
        for name, phase in sorted(counted.endpoints.items()):
            shown.add_metric((name, phase), 1)
        yield shown
        live = GaugeMetricFamily("tuneline_endpoint_live", "1: what is live.", labels=("endpoint", "release"))
        for name, release in sorted(counted.live.items()):
            live.add_metric((name, release), 1)
        yield live


def figures_router(figures: Figures, server: Server) -> APIRouter:
    """The one route."""
    router = APIRouter()

    @router.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        """All figures."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Shown(figures.count(), server))
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router


def _gauge(name: str, about: str, labels: tuple[str, ...], values: Mapping[str, float]) -> GaugeMetricFamily:
    found = GaugeMetricFamily(name, about, labels=labels)
    for value, number in sorted(values.items()):
        found.add_metric((value,), number)
    return found
