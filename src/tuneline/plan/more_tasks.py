"""Further held-out sets (`evaluate.sets`) as tasks: each has its own fetch, prepare, score, evaluate.

They are the main set's components over again, reading the set's source; nothing of them reaches `package`, so
a changed set changes no release's digest. The gate gets each set's report and predictions. Also `measure`,
where a rule names latency, and `merge`, where releases are merged; and what vLLM is told. Pure data.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from tuneline.plan.components import DATASET, MODEL, Component, In, Out, Param

_OF_A_SET = ("fetch", "prepare", "hold-out", "score", "score-live", "evaluate")
"""The tasks that a set has of its own, of those its line has."""
_FIELDS = {"data.source": "source", "data.sha256": "sha256", "data.where": "where"}
_OF_SPLITTING = ("data.split.test", "data.limit", "base_model")
"""What a set has no use for: all its rows are held out."""


def task_of(task: str, name: str) -> str:
    """The name of a set's own task, e.g. `score-hard-cases`."""
    return f"{task}-{name.replace('_', '-')}"


def with_sets(line: Sequence[Component], names: Iterable[str]) -> Sequence[Component]:
    """The line with the tasks of these sets before its gate, and the gate reading what they found."""
    made = list(line)
    for name in names:
        at = next(at for at, step in enumerate(made) if step.name == "gate")
        own = [_of_set(step, name) for step in line if step.name in _OF_A_SET]
        gate = made[at]
        evaluated = task_of("evaluate", name)
        inputs = (
            *gate.inputs,
            In(f"predictions_{name}", evaluated, "predictions", DATASET),
            In(f"report_{name}", evaluated, "report"),
        )
        made[at : at + 1] = [*own, replace(gate, inputs=inputs)]
    return tuple(made)


def with_latency(line: Sequence[Component], *, own: bool) -> Sequence[Component]:
    """The line with the task `measure` before its gate, after all that works hard. own: with own code."""
    made = list(line)
    at = next(at for at, step in enumerate(made) if step.name == "gate")
    busy = [step.name for step in line if step.name.startswith(("evaluate", "package"))]
    measure = replace(MEASURE_OWN if own else MEASURE, after=tuple(busy))
    gate = replace(made[at], inputs=(*made[at].inputs, In("latency", "measure", "latency")))
    others = [step for step in made[at + 1 :] if step.name in ("verify", "package")]
    rest = [step for step in made[at + 1 :] if step not in others]
    return (*made[:at], *others, measure, gate, *rest)


def with_vllm(line: Sequence[Component]) -> Sequence[Component]:
    """The line with what vLLM on this machine is told given to the tasks that start it; and `live`, which is
    never cached, looks first which vLLM is there: another one is to be proven anew."""
    made = []
    for step in line:
        if step.name == "live":
            step = replace(step, params=(*step.params, VLLM), returns=(*step.returns, ("vllm", "STRING")))
        elif step.name in ("verify", "measure"):
            step = replace(step, params=(*step.params, VLLM, VLLM_VERSION))
        made.append(step)
    return tuple(made)


def with_merge(line: Sequence[Component]) -> Sequence[Component]:
    """The line with the task `merge` after `tune`, and `verify` serving what it made."""
    at = next(at for at, step in enumerate(line) if step.name == "tune") + 1
    rest = [
        replace(step, inputs=(*step.inputs, In("merged", "merge", "merged", MODEL)))
        if step.name == "verify"
        else step
        for step in line[at:]
    ]
    return (*line[:at], MERGE, *rest)


VLLM = Param("vllm", "STRUCT", field="deploy.vllm")
VLLM_VERSION = Param("vllm_version", "STRING", task="live", output="vllm")
MERGE = Component(
    "merge",
    params=(Param("model", "STRING", field="name"),),
    inputs=(In("base", "base", "base", MODEL), In("adapter", "tune", "adapter", MODEL)),
    outputs=(Out("merged", MODEL),),
)
MEASURE = Component(
    "measure",
    params=(
        Param("runtime", "STRING", field="deploy.runtime"), Param("task", "STRING", field="evaluate.task"),
        Param("max_new_tokens", "NUMBER_INTEGER", field="evaluate.max_new_tokens"),
        Param("live_base", "STRING", task="live", output="base"),
    ),
    inputs=(
        In("base", "base", "base", MODEL), In("adapter", "tune", "adapter", MODEL),
        In("served", "verify", "served", MODEL), In("test", "prepare", "test", DATASET),
        In("live", "live", "package", MODEL),
    ),
    outputs=(Out("latency"),),
)  # fmt: skip
MEASURE_OWN = Component(
    "measure",
    program="measure_own",
    inputs=(
        In("model", "train", "model", MODEL), In("served", "verify", "served", MODEL),
        In("test", "hold-out", "test", DATASET), In("live", "live", "package", MODEL),
    ),
    outputs=(Out("latency"),),
)  # fmt: skip


def _of_set(step: Component, name: str) -> Component:
    program = step.program or step.name
    inputs = tuple(replace(one, task=_moved(one.task, name)) for one in step.inputs)
    outputs, returns = step.outputs, step.returns
    if step.name == "prepare":
        program += "_set"
        inputs += (In("train", "prepare", "train", DATASET),)  # those rows the candidate learned
        outputs = tuple(out for out in outputs if out.name != "train")
    if step.name == "fetch":
        returns = ()
    params = tuple(_param(one, name) for one in step.params if one.field not in _OF_SPLITTING)
    return replace(
        step,
        name=task_of(step.name, name),
        program=program,
        params=params,
        inputs=inputs,
        outputs=outputs,
        returns=returns,
    )


def _param(one: Param, name: str) -> Param:
    if one.field in _FIELDS:
        return replace(one, field=f"evaluate.sets.{name}.{_FIELDS[one.field]}")
    return replace(one, task=_moved(one.task, name))


def _moved(task: str, name: str) -> str:
    return task_of(task, name) if task in _OF_A_SET else task
