"""The operators of a pipeline's DAG: what all that execute have in common, and those that only decide.

An executor's operator is a `Step` and an operator of Airflow: `begin` says what to run, `finish` what is left
of it, `fail` why it did not work.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn, Protocol

from airflow.sdk import BaseOperator

from tuneline_airflow.attempt import Instance, finished, launch_of, record, run_folder
from tuneline_airflow.deciding import frames_of, held_back, iterations
from tuneline_airflow.described import ATTRIBUTE, Described
from tuneline_airflow.launch import Finished, Launch
from tuneline_airflow.left import LeftInAirflow
from tuneline_airflow.outline import Place
from tuneline_airflow.seen import ERROR, FATES, Run, Seen, Sight
from tuneline_airflow.versions import AirflowException, AirflowFailException, AirflowSkipException
from tuneline_ir import Status

LOST = 2
"""Attempts of a task that may be lost (its worker died) beside the retries its pipeline gives it."""


class Executor(Protocol):
    """How tasks are executed: the operator that does it, and its arguments for one task."""

    operator: type[BaseOperator]
    """Also a `Step`."""

    def arguments(self, described: Described, place: Place) -> Mapping[str, Any]:
        """Beside those that all have. Plain values: a mapped operator's are serialized."""
        ...


class _Deciding:
    """What an operator knows of its run. Mixed into an operator: `self.task_id`, `self.dag`."""

    def described(self) -> Described:
        """The pipeline of this DAG."""
        found: Described = getattr(self.dag, ATTRIBUTE)  # type: ignore[attr-defined]
        return found

    def place(self) -> Place:
        """What this is in the outline."""
        return self.described().outline.places[self.task_id]  # type: ignore[attr-defined]

    def seen(self, context: Any) -> Seen:
        """The run. Raises: AirflowFailException if its parameters do not fit."""
        described, ti, dag_run = self.described(), context["ti"], context["dag_run"]
        root = run_folder(described.root, ti.dag_id, ti.run_id)
        names = {
            "pipeline_job_name": f"{ti.dag_id}-{ti.run_id}",
            "pipeline_job_resource_name": f"{ti.dag_id}-{ti.run_id}",
            "pipeline_job_uuid": ti.run_id,
            "pipeline_root": root,
            "pipeline_job_create_time_utc": _utc(dag_run.start_date or dag_run.run_after),
            "pipeline_job_schedule_time_utc": _utc(dag_run.logical_date or dag_run.run_after),
            "workspace_path": f"{root}/workspace",
        }
        try:
            parameters = described.parameters(context["params"])
        except ValueError as error:
            self.fail(context, f"The DAG run's parameters do not fit: {error}.", retry=False)
        left = LeftInAirflow(described.outline, ti)
        return Seen(Run(described.outline, parameters, left, names, described.final_states))

    def fail(self, context: Any, message: str, *, retry: bool) -> NoReturn:
        """End the attempt badly, and leave word of it. Raises: AirflowException or, if it must not be tried
        again, AirflowFailException."""
        context["ti"].xcom_push(key=ERROR, value=message)
        raise AirflowException(message) if retry else AirflowFailException(message)

    def turn(self, context: Any, seen: Seen, sight: Sight) -> None:
        """Raises: AirflowSkipException if its turn does not come; AirflowFailException if that cannot be
        decided."""
        try:
            reason = held_back(self.place(), sight)
        except ValueError as error:
            self.fail(context, f"Task `{sight.path}` could not be started: {error}.", retry=False)
        if reason:
            raise AirflowSkipException(reason)


class Step(_Deciding):
    """What an operator that executes a task does before and after. Mixed into an operator."""

    _sight: Sight | None = None

    def task_folder(self, kept: str) -> str:
        """Where the task sees the folder of its attempt. kept: below the root; by default it is there."""
        return kept

    def begin(self, context: Any) -> Launch:
        """What to run; the same each time it is asked for one attempt.

        Raises: AirflowSkipException if its turn does not come; AirflowFailException if it cannot start.
        """
        seen, ti, place = self.seen(context), context["ti"], self.place()
        path = seen.path(place.path, place.loops, ti.map_index)
        sight = self._sight = seen[path]
        self.turn(context, seen, sight)
        instance = Instance(ti.dag_id, ti.run_id, ti.map_index, ti.try_number)
        try:
            launch = launch_of(self.described(), seen, sight, instance, self.task_folder)
        except ValueError as error:
            self.fail(context, f"Task `{path}` could not be started: {error}.", retry=False)
        return launch

    def finished(
        self, context: Any, launch: Launch, body: bytes | str | None, files: Mapping[str, str]
    ) -> Finished:
        """What the task put out; see `attempt.finished`. Raises: AirflowException if an output is missing."""
        assert self._sight is not None
        try:
            return finished(self._sight, launch, body, files)
        except ValueError as error:
            self.fail_attempt(context, f"Task `{launch.task}` ended well, but {error}.")

    def finish(self, context: Any, finished: Finished) -> dict[str, Any]:
        """What the operator's `execute` must return."""
        return record(finished, context["ti"].map_index)

    def fail_attempt(self, context: Any, message: str, *, retry: bool = True) -> NoReturn:
        """End a failed attempt: it is made again as often as the pipeline says.

        Airflow itself makes it again a little more often, for attempts of which nothing was heard any more.
        """
        assert self._sight is not None
        again = retry and context["ti"].try_number <= self._sight.task.retry.retries
        self.fail(context, message, retry=again)


class If(_Deciding, BaseOperator):
    """Whether a graph's condition holds. Skipped, and all behind it, if not."""

    ui_color = "#e8f7e4"

    def __init__(self, *, frame: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.frame = frame

    def execute(self, context: Any) -> None:
        """See `turn`."""
        seen, place = self.seen(context), self.place()
        self.turn(context, seen, seen[seen.path(place.path, place.loops, context["ti"].map_index)])


class Items(_Deciding, BaseOperator):
    """The paths of a loop's iterations; what is in the loop is mapped over them."""

    ui_color = "#fff7e6"

    def execute(self, context: Any) -> list[str]:
        """Raises: as `turn` does; AirflowFailException if what it goes over is no list."""
        seen, place = self.seen(context), self.place()
        graph = self.described().outline.graphs[place.path]
        if len(graph.loops) > 1:
            paths, fates = iterations(seen, place)
            if fates:
                context["ti"].xcom_push(key=FATES, value=fates)
            return paths
        sight = seen[place.path]
        self.turn(context, seen, sight)
        try:
            return frames_of(sight)
        except ValueError as error:
            self.fail(context, f"Task `{sight.path}` could not be started: {error}.", retry=False)


class End(_Deciding, BaseOperator):
    """How a graph ended; fails if anything in it failed, is skipped if it was not gone into. Of the whole
    pipeline it returns what that puts out."""

    ui_color = "#f0ede4"

    def __init__(self, *, frame: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.frame = frame

    def execute(self, context: Any) -> dict[str, Any]:
        """Raises: AirflowFailException, AirflowSkipException."""
        seen, place = self.seen(context), self.place()
        sight = seen[seen.path(place.path, place.loops, context["ti"].map_index)]
        if sight.status is Status.FAILED:
            error = sight.error or {}
            said = str(error.get("message", ""))
            self.fail(context, f"`{error['task']}`: {said}" if "task" in error else said, retry=False)
        if sight.status is Status.SKIPPED:
            raise AirflowSkipException("It was not gone into.")
        return record(
            Finished(sight.outputs.parameters, _lists(sight.outputs.artifacts)), context["ti"].map_index
        )


def _lists(artifacts: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    return {name: list(listed) for name, listed in artifacts.items()}


def _utc(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
