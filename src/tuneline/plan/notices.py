"""What a notice says: a title, Markdown and plain text, made of facts. Pure.

`judged` picks the facts of a verdict that are kept with a notice; `message` makes the words when it is sent.
Facts come from users' code too: nothing in them is read as Markdown, and none can mention a whole channel.
A message is short enough for one block of Slack (3,000 characters), which is the narrowest of all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tuneline.plan.notice_text import Block, Do, Link, Quote, Say, Table, cut, markdown, plain

Facts = Mapping[str, Any]
MOST_RULES = 12
TITLE = 150
"""Characters of a title: what Slack's header takes."""
_NUMBERS = ("accuracy", "f1", "precision", "recall", "ece", "log_loss", "mse", "mae", "rmse", "r2",
            "exact_match", "rouge_l", "chrf")  # fmt: skip


@dataclass(frozen=True)
class Message:
    """What is sent. tone: `info`, `success`, `warning` or `failure`, as apprise has them."""

    title: str
    markdown: str
    text: str
    tone: str


def judged(verdict: Facts, report: Facts) -> dict[str, Any]:
    """The facts of a verdict and its evaluation: `{"rules", "more_rules", "metrics", "rows", "live"}`."""
    rules = list(verdict.get("rules") or ())
    own = [name for name in report.get("own_metrics") or () if name not in _NUMBERS]
    names = (*_NUMBERS, *own[:MOST_RULES])
    metrics = {
        who: {name: scores[name] for name in names if isinstance(scores.get(name), int | float)}
        for who in ("base", "live", "candidate")
        if isinstance(scores := report.get(who), Mapping)
    }
    keys = ("rule", "passed", "estimate", "interval")
    return {
        "rules": [{key: rule.get(key) for key in keys} for rule in rules[:MOST_RULES]],
        "more_rules": max(0, len(rules) - MOST_RULES),
        "metrics": metrics,
        "rows": report.get("rows") or verdict.get("rows"),
        "live": verdict.get("live_release"),
    }


def message(kind: str, about: Facts, public_url: str = "") -> Message:
    """The words of a notice. about: what `record.notices.put` was given; what is missing there is left out.

    public_url: where people see this server's pages; "" links nothing.
    """
    title, tone, blocks = _KINDS.get(kind, _other)(about)
    run = str(about.get("run") or "")
    if public_url and run:
        blocks = [*blocks, Link("The run", f"{public_url}/runs/{quote(run)}")]
    return Message(cut(title, TITLE), markdown(blocks), plain(blocks), tone)


def trial(target: str) -> Message:
    """What `tuneline notify test` sends."""
    blocks = [Say(f"This is a test of {target}: notices of tuneline arrive here.")]
    return Message("A test of tuneline's notices", markdown(blocks), plain(blocks), "info")


Said = tuple[str, str, list[Block]]


def _run_failed(about: Facts) -> Said:
    run, error = about.get("run", ""), about.get("error") or {}
    blocks: list[Block] = []
    tasks = [task for task in about.get("tasks") or () if task.get("message")]
    for task in tasks:
        blocks += [Say(f"Task {task['task']} failed:"), Quote(str(task["message"]))]
    if not tasks and error.get("message"):
        blocks.append(Quote(str(error["message"])))
    if error.get("hint"):
        blocks.append(Say(str(error["hint"])))
    blocks.append(Do((f"tuneline runs show {run}", f"tuneline runs retry {run}")))
    return f"{about.get('project') or 'A project'}: run {run} failed", "failure", blocks


def _verdict(about: Facts) -> Said:
    release, approved = about.get("release", ""), about.get("state") != "rejected"
    said = "passed its gate" if approved else "was rejected"
    blocks = [*_why(about), *_evidence(about), Do((f"tuneline releases show {release}",))]
    return f"{release} {said}", "success" if approved else "warning", blocks


def _approval_wanted(about: Facts) -> Said:
    release = about.get("release", "")
    answers = tuple(f'tuneline releases {word} {release} --comment "..."' for word in ("approve", "reject"))
    blocks = [Say("It passed its gate and waits for somebody to decide."), *_why(about), *_evidence(about)]
    return f"{release} waits for approval", "info", [*blocks, Do(answers)]


def _rolled_out(about: Facts) -> Said:
    endpoint, release, before = about.get("endpoint", ""), about.get("release", ""), about.get("before")
    what = f"It took over from {before}." if before else "Nothing was live there before."
    blocks = [Say(what), *_why(about), Do((f"tuneline history {endpoint}",))]
    return f"{release} is live at {endpoint}", "success", blocks


def _rolled_back(about: Facts) -> Said:
    endpoint, release, to = about.get("endpoint", ""), about.get("release", ""), about.get("to")
    what = f"{to} serves again." if to else "What was live before goes on serving."
    blocks = [Say(what), *_why(about), *_forced(about), *_numbers(about)]
    commands = (f"tuneline history {endpoint}", f"tuneline releases show {release}")
    return f"{release} was rolled back at {endpoint}", "failure", [*blocks, Do(commands)]


def _drift(about: Facts) -> Said:
    endpoint = about.get("endpoint", "")
    blocks = [*_why(about), *_numbers(about)]
    if about.get("run"):
        blocks.append(Say(f"Run {about['run']} trains anew."))
    return f"Drift at {endpoint}", "warning", [*blocks, Do((f"tuneline drift {endpoint}",))]


def _other(about: Facts) -> Said:
    return "A notice of tuneline", "info", _why(about)


_KINDS: Mapping[str, Callable[[Facts], Said]] = {
    "run_failed": _run_failed,
    "verdict": _verdict,
    "approval_wanted": _approval_wanted,
    "rolled_out": _rolled_out,
    "rolled_back": _rolled_back,
    "drift": _drift,
}


def _why(about: Facts) -> list[Block]:
    why, by = str(about.get("why") or ""), about.get("by")
    whom = f" (by {by})" if by else ""
    return [Say(f"Why: {why}{whom}.".replace("..", "."))] if why else []


def _forced(about: Facts) -> list[Block]:
    """That it was tried past its gate."""
    said = about.get("forced")
    return [Say(f"It was forced past its gate by {said['by']}: {said['why']}")] if said else []


def _evidence(about: Facts) -> list[Block]:
    """The verdict's table, and the numbers of base, live and candidate."""
    found: list[Block] = []
    rules = [
        (str(rule.get("rule")), "holds" if rule.get("passed") else "FAILS", _number(rule.get("estimate")),
         _interval(rule.get("interval")))
        for rule in about.get("rules") or ()
    ]  # fmt: skip
    if rules:
        found.append(Table(("rule", "", "estimate", "interval"), rules, int(about.get("more_rules") or 0)))
    metrics = about.get("metrics") or {}
    who = [name for name in ("base", "live", "candidate") if metrics.get(name)]
    rows = [
        (name, *(_number(metrics[each].get(name)) for each in who)) for name in metrics.get("candidate") or ()
    ]
    if rows:
        found.append(Table(("metric", *who), rows))
        if about.get("rows"):
            live = f"; live is {about['live']}" if about.get("live") else ""
            found.append(Say(f"On {about['rows']} held-out rows{live}."))
    return found


def _numbers(about: Facts) -> list[Block]:
    """`numbers`: mappings with the same keys, e.g. a look's tests or a drift's detectors, as a table."""
    rows = [row for row in about.get("numbers") or () if isinstance(row, Mapping)]
    if not rows:
        return []
    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    return [Table(names, [[_cell(row.get(name)) for name in names] for row in rows])]


def _cell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return _interval(value)
    return _number(value) if isinstance(value, float) else "" if value is None else str(value)


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "-"
    return f"{value:.4g}"


def _interval(value: Any) -> str:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        return "-"
    return f"{_number(value[0])} .. {_number(value[1])}"
