"""The controller's side of traffic.json and ack.json.

Beside what the router reads, traffic.json says which revision is `live` and which is a `candidate`: weights
alone do not tell, and the next server must know.
"""

import logging
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuneline.control.holding import HOST
from tuneline.plan.endpoints import Desired
from tuneline.plan.revisions import WHOLE, Revision, Role, Split, State
from tuneline.serve import traffic
from tuneline.serve.traffic import ACK_FILE, STICKY_HEADERS, TRAFFIC_FILE, Bodies, Shadow, Traffic

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
        self._body: Mapping[str, Any] = traffic.read_json(folder / TRAFFIC_FILE)

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
        """The live revision: beside it another may get a part."""
        if "live" in self._body:
            return str(self._body["live"]) if self._body["live"] is not None else None
        return next((id for id, weight in self.weights.items() if weight > 0), None)

    @property
    def split(self) -> Split:
        """What a revision on trial gets beside it."""
        id = self._body.get("candidate")
        if id is None or id not in self.weights:
            return WHOLE
        return Split(str(id), self.weights[id], bool(self._body.get("shadow")))

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
        if self.generation == 0:  # nobody is routed to yet, and `write` comes with it
            self._traffic = fresh
            return
        fresh = replace(fresh, generation=self.generation + 1)
        self._put(fresh, self.routed, self._body.get("candidate"))
        LOG.info("%s: generation %d has other limits", fresh.endpoint, fresh.generation)

    def write(
        self,
        id: str | None,
        revisions: Iterable[Revision],
        repeat_all: bool = True,
        split: Split = WHOLE,
        sticky: tuple[str, ...] = (),
    ) -> None:
        """Send all requests but those of `split` to revision `id`; None: nobody gets any.

        repeat_all: see `traffic.Limits`. sticky: headers, if not the router's own. Raises: OSError.
        """
        weights = {id: 100.0 - split.weight, split.candidate: split.weight}
        listed = tuple(
            traffic.Revision(each.id, each.release, HOST, each.port, weights.get(each.id, 0.0))
            for each in revisions
            if id is not None and (each.id in weights or _is_warm(each))
        )
        limits = replace(self._traffic.limits, repeat_all=repeat_all)
        fresh = replace(
            self._traffic,
            generation=self.generation + 1,
            revisions=listed,
            limits=limits,
            shadow=Shadow(split.candidate) if split.shadow and split.candidate else None,
            sticky_headers=sticky or STICKY_HEADERS,
        )
        self._put(fresh, id, split.candidate)
        LOG.info("%s: generation %d sends requests to %s", fresh.endpoint, fresh.generation, id or "nobody")
        if split.candidate is not None:
            LOG.info("%s: %g %% of them to %s", fresh.endpoint, split.weight, split.candidate)

    def _put(self, fresh: Traffic, live: str | None, candidate: str | None) -> None:
        """Beside what the router reads, say which is live and which on trial: for the next server."""
        body = {**fresh.to_json(), "live": live, "candidate": candidate}
        traffic.replace_json(self._folder / TRAFFIC_FILE, body)
        self._traffic, self._body = fresh, body


def _is_warm(revision: Revision) -> bool:
    return revision.role is Role.KEPT and revision.state is State.READY
