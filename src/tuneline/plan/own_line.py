"""The line of a project with code of its own (`train.entry`): its components, for `plan.compile`.

    fetch -> prepare -> train -> score -> evaluate -> gate -> verify -> package -> propose
      live -> hold-out -> score-live -^

`train`, `score` and `score-live` are KFP Python components with the project's code in them; the others are
steps of ours. There is no base model. Pure data, as `plan.components`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from tuneline.plan import own_code
from tuneline.plan.components import (
    DATASET,
    FETCH,
    GATE,
    LIVE,
    METRICS,
    MODEL,
    PROPOSE,
    Component,
    In,
    Out,
    Param,
)


class Values(Protocol):
    """What is asked of a project."""

    def value(self, dotted: str) -> Any:
        """The value of a field."""
        ...


def own_line(project: Values) -> Sequence[Component]:
    """The components, in an order in which each stands after those it reads. Raises: SpecError."""
    files, requirements = project.value("code"), project.value("train.requirements")
    entries = [project.value(f"{section}.entry") for section in ("train", "evaluate", "deploy")]
    score = own_code.score_container(files, entries, requirements, live=False)
    score_live = own_code.score_container(files, entries, requirements, live=True)
    return (
        replace(LIVE, params=LIVE.params[:2], outputs=LIVE.outputs[:1]),
        replace(FETCH, params=FETCH.params[:2], returns=()),
        PREPARE,
        replace(_TRAIN, container=own_code.train_container(files, entries[0], requirements)),
        _HOLD_OUT,
        replace(_SCORE, container=score),
        replace(_SCORE_LIVE, container=score_live),
        _EVALUATE,
        GATE,
        _VERIFY,
        _PACKAGE,
        replace(PROPOSE, inputs=tuple(given for given in PROPOSE.inputs if given.name != "base")),
    )


def _p(name: str, type: str, path: str) -> Param:
    return Param(name, type, field=path)


PREPARE = Component(
    "prepare",
    program="prepare_rows",
    params=(
        _p("where", "STRING", "data.where"), _p("map", "STRUCT", "data.map"),
        _p("columns", "STRUCT", "data.columns"), _p("types", "STRUCT", "data.types"),
        _p("label", "STRING", "data.label"), _p("keep", "LIST", "data.keep"),
        _p("test", "NUMBER_DOUBLE", "data.split.test"), _p("limit", "NUMBER_INTEGER", "data.limit"),
        _p("task", "STRING", "evaluate.task"),
    ),
    inputs=(In("data", "fetch", "data", DATASET),),
    outputs=(Out("train", DATASET), Out("test", DATASET), Out("report")),
)  # fmt: skip
_TRAIN = Component(
    "train",
    params=(_p("params", "STRUCT", "train.params"),),
    inputs=(In("rows", "prepare", "train", DATASET),),
    outputs=(Out("model", MODEL), Out("metrics", METRICS)),
)
_HOLD_OUT = Component(
    "hold-out",
    program="hold_out",
    inputs=(In("test", "prepare", "test", DATASET), In("live", "live", "package", MODEL)),
    outputs=(Out("test", DATASET),),  # the same folder where nothing is left out: what follows is cached
    returns=(("left_out", "NUMBER_INTEGER"),),
)
_SCORE = Component(
    "score",
    params=(_p("params", "STRUCT", "train.params"),),
    inputs=(In("rows", "hold-out", "test", DATASET), In("model", "train", "model", MODEL)),
    outputs=(Out("scores"), Out("code"), Out("metrics", METRICS)),
)
_SCORE_LIVE = Component(
    "score-live",
    params=(_p("params", "STRUCT", "train.params"),),
    inputs=(In("rows", "hold-out", "test", DATASET), In("model", "live", "package", MODEL)),
    outputs=(Out("scores"),),
)
_EVALUATE = Component(
    "evaluate",
    program="evaluate_own",
    params=(
        _p("task", "STRING", "evaluate.task"), _p("slices", "LIST", "evaluate.slices"),
        Param("live_digest", "STRING", task="live", output="digest"),
        Param("left_out", "NUMBER_INTEGER", task="hold-out", output="left_out"),
    ),
    inputs=(
        In("test", "hold-out", "test", DATASET), In("scores", "score", "scores"),
        In("live_scores", "score-live", "scores"),
    ),
    outputs=(Out("predictions", DATASET), Out("metrics", METRICS), Out("report")),
)  # fmt: skip
_VERIFY = Component(
    "verify",
    program="verify_own",
    params=(_p("runtime", "STRING", "deploy.runtime"), _p("task", "STRING", "evaluate.task")),
    inputs=(
        In("model", "train", "model", MODEL), In("code", "score", "code"), In("scores", "score", "scores"),
        In("test", "hold-out", "test", DATASET),
    ),
    outputs=(Out("served", MODEL), Out("proof")),
)  # fmt: skip
_PACKAGE = Component(
    "package",
    program="package_own",
    params=(
        _p("model", "STRING", "name"), _p("params", "STRUCT", "train.params"),
        _p("task", "STRING", "evaluate.task"),
    ),
    inputs=(
        In("trained", "train", "model", MODEL), In("served", "verify", "served", MODEL),
        In("train", "prepare", "train", DATASET), In("data_report", "prepare", "report"),
    ),
    outputs=(Out("package", MODEL),),
)  # fmt: skip
