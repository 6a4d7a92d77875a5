"""What tasks of a DAG run left behind, asked of Airflow from inside one of them."""

from collections.abc import Mapping
from typing import Any

from tuneline_airflow.outline import Outline


class LeftInAirflow:
    """See `seen.Left`. ti: the task instance that `execute` finds in its context."""

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
