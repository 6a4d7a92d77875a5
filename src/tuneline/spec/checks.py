"""What no single key can tell: keys that need, exclude or explain each other. Pure; faults go where they were
written."""

import re
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from tuneline.errors import SpecError
from tuneline.spec import serving_checks
from tuneline.spec.cron import Cron, never, parse_cron, parse_zone
from tuneline.spec.faults import Faults
from tuneline.spec.reading import Reading
from tuneline.spec.sections import KEYS, METRICS, SET_NAME, Project
from tuneline.spec.template import fields_of
from tuneline.spec.where import parse_where

T = TypeVar("T")


def check(project: Project, reading: Reading, faults: Faults) -> None:
    """Note every fault that lies between keys, or inside a key's own language."""
    if project.train.entry or "train.entry" in reading.nodes:
        _check_own_code(project, reading, faults)
    else:
        _check_without(project, reading, faults)
        _check_templates(project, reading, faults)
        _check_label(project, reading, faults)
    _check_metrics(project, reading, faults)
    _check_sets(project, reading, faults)
    if project.data.where.strip():
        _try(lambda: parse_where(project.data.where), "data.where", reading, faults)
    if project.train.max_steps == 0:
        faults.note(_line(reading, "train.max_steps"), "`train.max_steps` is 0; it must be -1 or at least 1")
    _check_schedule(project, reading, faults)
    _check_rollout(project, reading, faults)
    for path, what in serving_checks.faults(project, frozenset(reading.nodes)):
        faults.note(_line(reading, path), what)
    for at, rule in enumerate(project.gate, 1):
        if not rule.strip():
            faults.note(_line(reading, "gate"), f"rule {at} of `gate` is blank")
    taken = [name for name, other in project.data.columns.items() if not other.strip()]
    for name in taken:
        faults.note(_line(reading, "data.columns"), f"`data.columns.{name}` names no column")


TYPES = ("number", "integer", "boolean", "text")
"""What `data.types` can make of a column."""
_OF_OWN_CODE = ("data.types", "train.requirements", "train.params", "evaluate.entry", "deploy.entry")
_OF_A_BASE = (
    "base_model", "data.prompt", "data.completion", "data.format", "evaluate.max_new_tokens", "release.merge",
)  # fmt: skip
_OWN = ("train.entry", "train.requirements", "train.params")


def _check_own_code(project: Project, reading: Reading, faults: Faults) -> None:
    """With `train.entry` the model, its features and its metrics are the code's affair."""
    for path in reading.nodes:
        if path in _OF_A_BASE or (path.startswith("train.") and path not in _OWN):
            faults.note(_line(reading, path), f"`{path}` has no effect with `train.entry`")
    if project.deploy.runtime != "pyfunc":
        what = (
            f"`deploy.runtime` is `{project.deploy.runtime}`; what `train.entry` made is served by `pyfunc`"
        )
        faults.note(_line(reading, "deploy.runtime"), what)
    if not project.data.label and not project.evaluate.entry:
        what = "`data.label` is missing: without `evaluate.entry`, predictions are compared with that column"
        faults.note(_line(reading, "data.label"), what)
    for name, kind in project.data.types.items():
        if kind not in TYPES:
            what = f"`data.types.{name}` is `{kind}`; it can be {', '.join(TYPES)}"
            faults.note(_line(reading, "data.types"), what)


def _check_without(project: Project, reading: Reading, faults: Faults) -> None:
    """Without `train.entry` there is a base model, and keys of own code mean nothing."""
    if not project.base_model:
        doc = KEYS["base_model"].doc
        faults.note(1, f"`base_model` is missing: {doc} Or give `train.entry`: code of your own.")
    for path in _OF_OWN_CODE:
        if path in reading.nodes:
            faults.note(_line(reading, path), f"`{path}` has no effect without `train.entry`")
    if project.deploy.runtime == "pyfunc":
        what = "`deploy.runtime: pyfunc` serves what `train.entry` made, and there is none"
        faults.note(_line(reading, "deploy.runtime"), what)
    if project.release.merge and project.train.method != "lora":
        what = "`release.merge` has no effect with `train.method: full`, which makes a whole model"
        faults.note(_line(reading, "release.merge"), what)
    if project.evaluate.task == "regress":
        faults.note(_line(reading, "evaluate.task"), "`evaluate.task: regress` needs `train.entry`")


def _check_metrics(project: Project, reading: Reading, faults: Faults) -> None:
    task = project.evaluate.task
    for name in project.evaluate.metrics:
        if name not in METRICS[task]:
            what = f"`evaluate.metrics`: `{name}` is not measured of `{task}`; that has "
            faults.note(_line(reading, "evaluate.metrics"), what + ", ".join(METRICS[task]))


RESERVED = frozenset({
    *("live", "base", "candidate", "main", "test", "rows", "slices", "sets", "latency"),
    *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if"),
    *("import", "let", "loop", "package", "namespace", "return", "var", "void", "while"),
})  # fmt: skip
"""Names that no held-out set may have: models and words of the gate's rules, words that CEL keeps."""


def _check_sets(project: Project, reading: Reading, faults: Faults) -> None:
    for name, one in project.evaluate.sets.items():
        line = _line(reading, "evaluate.sets")
        if not re.fullmatch(SET_NAME, name):
            what = "lower-case letters, digits and `_`, starting with a letter, at most 31"
            faults.note(line, f"`evaluate.sets`: the name `{name}` does not fit: {what}")
        elif name in RESERVED or name.startswith("live_"):
            faults.note(line, f"`evaluate.sets`: the name `{name}` means something else; choose another")
        if one["where"].strip():
            _try(partial(parse_where, one["where"]), f"evaluate.sets.{name}.where", reading, faults)
        if one["sha256"] and not re.fullmatch("[0-9a-f]{64}", one["sha256"]):
            faults.note(line, f"`evaluate.sets.{name}.sha256` must be 64 hexadecimal digits")


def _check_templates(project: Project, reading: Reading, faults: Faults) -> None:
    data = project.data
    for name, text in (("prompt", data.prompt), ("completion", data.completion)):
        path = f"data.{name}"
        if text:
            fields = _try(partial(fields_of, text), path, reading, faults)
            if fields == ():
                faults.note(
                    _line(reading, path),
                    f"`{path}` has no `{{column}}` in it, so every row would be the same",
                )
            if data.format in ("messages", "sharegpt"):
                faults.note(_line(reading, path), f"`{path}` has no effect with `data.format: {data.format}`")
        elif data.format == "prompt" or (data.format == "alpaca" and (data.prompt or data.completion)):
            faults.note(_line(reading, path), f"`{path}` is missing: `data.format: {data.format}` needs it")


def _check_label(project: Project, reading: Reading, faults: Faults) -> None:
    data = project.data
    if project.evaluate.task != "classify" or data.label:
        return
    try:
        fields = fields_of(data.completion)
    except SpecError:
        return
    if data.completion and len(fields) != 1:
        what = "`data.label` is missing: `evaluate.task: classify` needs the column with the class"
        faults.note(_line(reading, "data.label"), f"{what}, and `data.completion` has {len(fields)} fields")


def _check_schedule(project: Project, reading: Reading, faults: Faults) -> None:
    schedule = project.schedule
    line = _line(reading, "schedule")
    if "schedule" in reading.nodes and not {"schedule.cron", "schedule.every"} & set(reading.nodes):
        faults.note(line, '`schedule` needs `cron` or `every`, e.g. `schedule: {cron: "0 6 * * *"}`')
    if schedule.cron and schedule.every_s:
        faults.note(line, "`schedule.cron` and `schedule.every` exclude each other")
    if "schedule.timezone" in reading.values:
        _try(lambda: parse_zone(schedule.timezone), "schedule.timezone", reading, faults)
        if schedule.every_s:
            faults.note(_line(reading, "schedule.timezone"), "`schedule.timezone` has no effect with `every`")
    if "schedule.cron" in reading.values:
        timing = _try(lambda: parse_cron(schedule.cron, crontab=True), "schedule.cron", reading, faults)
        if isinstance(timing, Cron) and never(timing):
            faults.note(
                _line(reading, "schedule.cron"), "`schedule.cron` names a day that no month of it has"
            )


def _check_rollout(project: Project, reading: Reading, faults: Faults) -> None:
    """What one key of a rollout cannot tell; `plan.rollout_plan` refuses the rest when it is made."""
    rollout, section = project.deploy.rollout, "deploy.rollout"
    written = [path for path in reading.nodes if path.startswith(f"{section}.")]
    if rollout.strategy == "switch":
        for path in written:
            if path not in (f"{section}.strategy", f"{section}.sticky"):
                faults.note(_line(reading, path), f"`{path}` has no effect without `{section}.strategy`")
    stages = [text.strip().removesuffix("%") for text in rollout.stages]
    numbers = [float(text) for text in stages if text.replace(".", "", 1).isdigit()]
    grows = all(low < high for low, high in zip([0.0, *numbers], [*numbers, 100.1], strict=False))
    if len(numbers) != len(stages) or not grows:
        what = f"`{section}.stages` must be percents that grow up to 100%, e.g. `[5%, 25%, 100%]`"
        faults.note(_line(reading, f"{section}.stages"), what)
    for name, margin in rollout.margins.items():
        known = name in KEYS[f"{section}.metrics"].choices
        if not known or not isinstance(margin, int | float) or not 0 < margin < 1:
            what = (
                f"`{section}.margins` has `{name}: {margin}`; it takes a metric and a number between 0 and 1"
            )
            faults.note(_line(reading, f"{section}.margins"), what)
    copies = rollout.shadow or rollout.strategy == "shadow"
    if "agreement" in (*rollout.metrics, *rollout.watched) and not copies:
        what = "`agreement` is measured on copies alone: it needs `deploy.rollout.shadow: true`"
        faults.note(_line(reading, f"{section}.metrics"), what)
    if rollout.strategy == "shadow" and "feedback" in rollout.metrics:
        what = "nobody sees the answers to copies, so `strategy: shadow` has no `feedback` to wait for"
        faults.note(_line(reading, f"{section}.metrics"), what)
    if rollout.strategy in ("canary", "ab") and numbers[:1] == [100.0]:
        faults.note(_line(reading, f"{section}.stages"), f"`{section}.stages` needs one under 100%")


def _try(parse: Callable[[], T], path: str, reading: Reading, faults: Faults) -> T | None:
    try:
        return parse()
    except SpecError as error:
        what = (
            error.message
            if error.message.startswith("`") and path == "data.where"
            else f"`{path}`: {error.message}"
        )
        faults.note(_line(reading, path), f"{what}. {error.hint}")
        return None


def _line(reading: Reading, path: str) -> int:
    """The line of a key, or of the nearest section around it that is written."""
    while path and path not in reading.nodes:
        path = path.rpartition(".")[0]
    node = reading.nodes.get(path)
    return node.start_mark.line + 1 if node is not None else 1
