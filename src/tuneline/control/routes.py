"""The controller's side of traffic.json and ack.json."""

import logging
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from tuneline.control.holding import HOST
from tuneline.plan.endpoints import Desired
from tuneline.plan.revisions import Revision, Role, State
from tuneline.serve import traffic
from tuneline.serve.traffic import ACK_FILE, TRAFFIC_FILE, Bodies, Traffic

LOG = logging.getLogger("tuneline.control")


class Routes:
    """The traffic of one endpoint, as it was last written, by this server or an earlier one."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        """Raises: ConflictError if traffic.json is there and is none."""
        self._folder = folder
        try:
            self._traffic = traffic.read(folder / TRAFFIC_FILE)
        except FileNotFoundError:
            self._traffic = Traffic(endpoint, 0, sticky_seed=secrets.token_hex(8))

    @property
    def generation(self) -> int:
        """Of the last traffic; 0 if none was written."""
        return self._traffic.generation

    @property
    def weights(self) -> Mapping[str, float]:
        """By revision."""
        return {each.id: each.weight for each in self._traffic.revisions}

    @property
    def routed(self) -> str | None:
        """The revision that gets requests."""
        return next((id for id, weight in self.weights.items() if weight > 0), None)

    def acknowledged(self) -> tuple[bool, Mapping[str, int]]:
        """Whether the router applies the last traffic, and requests under way by revision."""
        ack = traffic.read_json(self._folder / ACK_FILE)
        return ack.get("generation") == self.generation, ack.get("in_flight") or {}

    def since(self, now: float) -> float:
        """When the last traffic was written, Unix seconds, also by an earlier server; at most `now`."""
        try:
            return min(now, (self._folder / TRAFFIC_FILE).stat().st_mtime)
        except OSError:
            return now

    def configure(self, desired: Desired) -> None:
        """Apply limits, bodies and workers as they are wanted now, whatever is served. Raises: OSError."""
        limits = replace(
            self._traffic.limits,
            max_concurrent=desired.max_concurrent,
            max_queue=desired.max_queue,
            queue_timeout_s=desired.queue_timeout_s,
        )
        bodies = Bodies(share=desired.keep_bodies) if desired.keep_bodies > 0 else None
        fresh = replace(self._traffic, limits=limits, bodies=bodies, workers=desired.workers)
        if fresh == self._traffic:
            return
        if self.generation > 0:  # else nobody is routed to yet, and `write` comes with it
            fresh = replace(fresh, generation=self.generation + 1)
            traffic.replace_json(self._folder / TRAFFIC_FILE, fresh.to_json())
            LOG.info("%s: generation %d has other limits", fresh.endpoint, fresh.generation)
        self._traffic = fresh

    def write(self, id: str | None, revisions: Iterable[Revision], repeat_all: bool = True) -> None:
        """Send all requests to revision `id`; None: nobody gets any. repeat_all: see `traffic.Limits`.

        Raises: OSError.
        """
        listed = tuple(
            traffic.Revision(each.id, each.release, HOST, each.port, 100.0 if each.id == id else 0.0)
            for each in revisions
            if each.id == id or (id is not None and each.role is Role.KEPT and each.state is State.READY)
        )
        limits = replace(self._traffic.limits, repeat_all=repeat_all)
        fresh = replace(self._traffic, generation=self.generation + 1, revisions=listed, limits=limits)
        traffic.replace_json(self._folder / TRAFFIC_FILE, fresh.to_json())
        self._traffic = fresh
        LOG.info("%s: generation %d sends requests to %s", fresh.endpoint, fresh.generation, id or "nobody")
