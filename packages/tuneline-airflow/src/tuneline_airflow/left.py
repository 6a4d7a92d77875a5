"""A DAG run and what its tasks left behind: under which names, and how one of them asks Airflow for it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tuneline_airflow.outline import Outline
from tuneline_ir import Status

RECORD = "return_value"
ERROR = "error"
"""Why a task failed, as far as it could say."""
PACKED = "json"
"""Of a record that Airflow's JSON could not hold: its JSON text."""
FATES = "fates"
"""The loops in a loop that were not gone into: path -> fault, empty if it was skipped."""


class Left(Protocol):
    """What tasks have left behind in Airflow. Of a task that is not mapped the map index is -1."""

    def one(self, id: str, index: int, key: str) -> Any:
        """What an instance left under a key; None: nothing."""
        ...

    def all(self, id: str) -> Mapping[int, Any]:
        """The records of all instances of a mapped task, by map index."""
        ...

    def states(self) -> Mapping[tuple[str, int], str]:
        """The states of all tasks of the run, by id and map index."""
        ...


@dataclass(frozen=True)
class Run:
    """A run and what was given to it. `names`: values of pipeline-level placeholders."""

    outline: Outline
    parameters: Mapping[str, Any]
    left: Left
    names: Mapping[str, str] = field(default_factory=dict)
    final_states: Mapping[Status, str] = field(default_factory=dict)


def unpacked(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A record as it was before `attempt.record` packed it."""
    found: Mapping[str, Any] = json.loads(record[PACKED]) if PACKED in record else record
    return found


class LeftInAirflow:
    """See Left. ti: the task instance that `execute` finds in its context."""

    def __init__(self, outline: Outline, ti: Any) -> None:
        self._outline, self._ti = outline, ti

    def one(self, id: str, index: int, key: str) -> Any:
        """See Left."""
        return self._ti.xcom_pull(task_ids=id, map_indexes=index, key=key)

    def all(self, id: str) -> Mapping[int, Any]:
        """See Left. A record says which instance's it is: Airflow's list of them has no gaps."""
        found = self._ti.xcom_pull(task_ids=id)
        listed = [found] if isinstance(found, Mapping) else found or []
        return {record["index"]: record for record in listed if record is not None}

    def states(self) -> Mapping[tuple[str, int], str]:
        """See Left."""
        run = self._ti.run_id
        found = self._ti.get_task_states(dag_id=self._ti.dag_id, run_ids=[run]).get(run, {})
        return {self._instance(name): str(getattr(state, "value", state)) for name, state in found.items()}

    def _instance(self, name: str) -> tuple[str, int]:
        """Airflow writes the instance 3 of the mapped task `a` as `a_3`."""
        place = self._outline.places.get(name)
        if place is not None and not place.loops:
            return name, -1
        id, _, number = name.rpartition("_")
        mapped = self._outline.places.get(id)
        return (id, int(number)) if mapped is not None and mapped.loops and number.isdigit() else (name, -1)
