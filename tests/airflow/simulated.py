"""Airflow's scheduler in a page, for pipelines drawn at random: states, trigger rules and mapping, as its
documentation has them. The operators' own decisions are the real ones; only what they stand on is this.

Whether the real Airflow does the same is for the other tests here. Limits: no retries, no parallel runs.
"""

from collections.abc import Callable, Mapping
from typing import Any

from tuneline_airflow.deciding import frames_of, held_back, iterations
from tuneline_airflow.outline import Outline, Place, Role
from tuneline_airflow.seen import FATES, RECORD, Run, Seen, Sight
from tuneline_ir import Status

Instance = tuple[str, int]


class Skipped(Exception):
    """A task says that it need not run."""


class Scheduler:
    """One DAG run. outcome: of a task that is executed, by its path: what it puts out, or None: it fails."""

    def __init__(
        self, outline: Outline, parameters: Mapping[str, Any], outcome: Callable[[Sight], str | None]
    ) -> None:
        self.outline, self.parameters, self.outcome = outline, parameters, outcome
        self.found: dict[Instance, str] = {}
        self.xcoms: dict[tuple[str, int, str], Any] = {}
        self.many: dict[str, int] = {}
        """How many instances a mapped task has; -1: it was never mapped."""

    def one(self, id: str, index: int, key: str) -> Any:
        return self.xcoms.get((id, index, key))

    def all(self, id: str) -> Mapping[int, Any]:
        return {i: value for (name, i, key), value in self.xcoms.items() if name == id and key == RECORD}

    def states(self) -> Mapping[Instance, str]:
        return self.found

    def seen(self) -> Seen:
        """The run as a task sees it now."""
        return Seen(Run(self.outline, self.parameters, self))

    def go(self) -> str:
        """Run to the end. Returns the DAG run's state, as Airflow finds it by the last tasks."""
        left = dict(self.outline.places)
        while left:
            ready = [place for place in left.values() if self._done(place.upstream)]
            assert ready, f"these wait for ever: {list(left)}"
            for place in ready:
                self._expand(place)
                for index in range(self.many[place.id]) if self.many[place.id] >= 0 else [-1]:
                    self._instance(place, index)
                del left[place.id]
        before = {id for place in self.outline.places.values() for id in place.upstream}
        last = [state for (id, _), state in self.found.items() if id not in before]
        return "failed" if {"failed", "upstream_failed"} & set(last) else "success"

    def _done(self, ids: tuple[str, ...]) -> bool:
        return all(id in self.many for id in ids)

    def _expand(self, place: Place) -> None:
        """A mapped task has as many instances as its loop has iterations: none is one that is skipped."""
        self.many[place.id] = -1
        if place.loops:
            frames = self.one(f"{place.loops[-1].replace('/', '.')}.items", -1, RECORD)
            self.many[place.id] = len(frames) if frames else -1

    def _instance(self, place: Place, index: int) -> None:
        upstream = [state for id in place.upstream for state in self._relevant(place, index, id)]
        if place.loops and index < 0:
            items = self.found[(f"{place.loops[-1].replace('/', '.')}.items", -1)]
            state = "skipped" if items in ("success", "skipped") else "upstream_failed"
        elif not place.whatever_happened and {"failed", "upstream_failed"} & set(upstream):
            state = "upstream_failed"
        elif not place.whatever_happened and "skipped" in upstream:
            state = "skipped"
        else:
            state = self._run(place, index)
        self.found[place.id, index] = state

    def _relevant(self, place: Place, index: int, id: str) -> list[str]:
        """States of the instances that a trigger rule looks at: in one mapped group its own iteration's."""
        other = self.outline.places[id]
        if place.loops and other.loops == place.loops and not place.over and not other.over:
            return [self.found[id, index if index in range(max(self.many[id], 0)) else -1]]
        return [state for (name, _), state in self.found.items() if name == id]

    def _run(self, place: Place, index: int) -> str:
        seen = self.seen()
        try:
            returned = self._execute(place, index, seen)
        except Skipped:
            return "skipped"
        except ValueError:
            return "failed"
        if returned is not None:
            self.xcoms[place.id, index, RECORD] = returned
        return "success"

    def _execute(self, place: Place, index: int, seen: Seen) -> Any:
        if place.role is Role.ITEMS and len(self.outline.graphs[place.path].loops) > 1:
            paths, fates = iterations(seen, place)
            self.xcoms[place.id, index, FATES] = fates
            return paths
        sight = seen[seen.path(place.path, place.loops, index)]
        if place.role is Role.END:
            if sight.status is Status.FAILED:
                raise ValueError(sight.error)
            if sight.status is Status.SKIPPED:
                raise Skipped
            return {"index": index, "parameters": dict(sight.outputs.parameters), "artifacts": {}}
        if held_back(place, sight):
            raise Skipped
        if place.role is Role.ITEMS:
            return frames_of(sight)
        if place.role is Role.IF:
            return None
        assert sight.given is not None
        said = self.outcome(sight)
        if said is None:
            raise ValueError("no")
        return {"index": index, "parameters": {"out": said}, "artifacts": {}}
