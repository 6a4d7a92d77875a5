"""`Kfp`: experiments, uploaded pipelines, runs and what they made, each a class of its own."""

from collections.abc import Callable
from pathlib import Path

from tuneline.actions.kfp.artifacts import Artifacts
from tuneline.actions.kfp.experiments import Experiments
from tuneline.actions.kfp.pipelines import Pipelines
from tuneline.actions.kfp.runs import KfpRuns
from tuneline.actions.ports import Runs
from tuneline.actions.starting import Starter
from tuneline.record.record import Record
from tuneline.types import Clock


class Kfp:
    """The part of a home's door that speaks of experiments and uploads. Thread-safe."""

    def __init__(
        self,
        record: Record,
        runner: Runs,
        starter: Starter,
        home: Path,
        user: Callable[[], str],
        clock: Clock,
    ) -> None:
        """user: who asks, for the events that say so."""
        self.experiments = Experiments(record, clock)
        self.pipelines = Pipelines(record, clock)
        self.runs = KfpRuns(record, runner, starter, home / "runs", user, clock)
        self.artifacts = Artifacts(record)
