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
from tuneline.plan.revisions import WHOLE, Revision, Role, Split, State
from tuneline.serve import traffic
from tuneline.serve.traffic import ACK_FILE, TRAFFIC_FILE, Traffic

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
        fresh = replace(self._traffic, generation=self.generation + 1, revisions=listed, limits=limits)
        body = {**fresh.to_json(), "live": id, "candidate": split.candidate}
        body["shadow"] = _shadow(split.candidate) if split.shadow and split.candidate else None
        if sticky:
            body["sticky_headers"] = list(sticky)
        traffic.replace_json(self._folder / TRAFFIC_FILE, body)
        self._traffic, self._body = fresh, body
        LOG.info("%s: generation %d sends requests to %s", fresh.endpoint, fresh.generation, id or "nobody")
        if split.candidate is not None:
            LOG.info("%s: %g %% of them to %s", fresh.endpoint, split.weight, split.candidate)


def _is_warm(revision: Revision) -> bool:
    return revision.role is Role.KEPT and revision.state is State.READY


def _shadow(candidate: str) -> dict[str, Any]:
    return {"revision": candidate, "share": 1.0, "max_in_flight": 8, "timeout_s": 60.0}
