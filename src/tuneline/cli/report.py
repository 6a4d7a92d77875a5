"""The report that ends a run, the object that `--json` prints, the exit code. Pure, of the API's values."""

import json
from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

from tuneline.cli import exits
from tuneline.cli.compared import latency_lines, table_lines
from tuneline.cli.progress import duration, seconds_between

View = Mapping[str, Any]
"""An object of the API."""

COLUMNS = (
    ("accuracy", "accuracy"), ("f1", "macro F1"), ("log_loss", "log loss"), ("ece", "calibration error"),
    ("mse", "squared error"), ("mae", "absolute error"), ("r2", "R2"),
    ("exact_match", "exact match"), ("rouge_l", "ROUGE-L"), ("chrf", "chrF"),
)  # fmt: skip
"""Numbers of the evaluation's report and what people call them."""
PAD = 13
"""Where values stand."""
MOST_LINES = 24
"""Of the comparison's table; `tuneline releases show` has all of it."""
WIDTH = 110
"""Longer reasons go on in a further line."""


def lines(run: View, endpoint: View | None) -> list[str]:
    """The report of a run as far as it came, by line. endpoint: where its release should answer."""
    report = run.get("report") or {}
    cached = sum(1 for task in run["tasks"] if task["state"] == "CACHED")
    took = duration(total_seconds(run))
    said = f" in {took}" if took else ""
    said += f", {cached} of {len(run['tasks'])} tasks from the cache" if cached else ""
    found = [f"{run['project']}: run {run['id']} {run['state'].lower()}{said}"]
    found += _metrics(report.get("metrics"), report.get("verdict"))
    found += _compared((report.get("verdict") or {}).get("comparison"))
    found += _verdict(report.get("verdict"))
    found += _proof(report.get("proof"))
    found += _release(report.get("release"))
    runtime = (report.get("proof") or {}).get("runtime", "")
    found += _endpoint(endpoint, report.get("release"), runtime)
    return found


def json_object(run: View, endpoint: View | None) -> dict[str, Any]:
    """What `tuneline run --json` prints."""
    report = run.get("report") or {}
    task_keys = ("name", "state", "seconds", "cached", "attempts", "error")
    endpoint_keys = ("name", "url", "desired", "live", "phase", "message")
    return {
        "run": run["id"],
        "project": run["project"],
        "state": run["state"],
        "seconds": total_seconds(run),
        "exit_code": exit_code(run, endpoint),
        "error": run["error"],
        "tasks": [{key: task.get(key) for key in task_keys} for task in run["tasks"]],
        "data": report.get("data"),
        "metrics": report.get("metrics"),
        "verdict": report.get("verdict"),
        "proof": report.get("proof"),
        "release": report.get("release"),
        "endpoint": None if endpoint is None else {key: endpoint.get(key) for key in endpoint_keys},
        "url": None if endpoint is None else endpoint["url"],
    }


def exit_code(run: View, endpoint: View | None) -> int:
    """What the command's exit status says about an ended run, and what became of its release."""
    report = run.get("report") or {}
    release, verdict = report.get("release") or {}, report.get("verdict") or {}
    if run["state"] != "SUCCEEDED":
        return exits.FAILURE
    if release.get("state") in ("rejected", "withdrawn") or verdict.get("passed") is False:
        return exits.GATE_REFUSED
    if release.get("state") == "candidate":
        return exits.APPROVAL_PENDING
    if (
        endpoint is not None
        and release
        and wanted(endpoint, release)
        and not is_live(endpoint, release["release"])
    ):
        return exits.FAILURE
    return exits.NOTHING_TO_DO if unchanged(run) else exits.OK


def is_live(endpoint: View, release: str) -> bool:
    """Whether an endpoint answers with `release` now."""
    return bool(endpoint["live"] == release and endpoint["phase"] == "live" and endpoint["url"])


def wanted(endpoint: View, release: View) -> bool:
    """Whether the endpoint is meant to serve this release; another run may have changed that since."""
    return bool(endpoint["desired"] == release["release"])


def unchanged(run: View) -> bool:
    """Whether the run proposed what is a release already, and moved no endpoint by it."""
    release = (run.get("report") or {}).get("release") or {}
    return bool(release) and release.get("reason") == f"identical to {release.get('release')}"


def failures(run: View) -> list[tuple[str, View]]:
    """Every failed task with its error; the run's own error, without a task, if no task has one.

    Not those made of tasks: they only have the error of what failed in them.
    """
    found = [
        (task["name"], task["error"] or {})
        for task in run["tasks"]
        if task["state"] == "FAILED" and not made_of_tasks(task)
    ]
    return found or ([("", run["error"])] if run["error"] else [])


def made_of_tasks(task: View) -> bool:
    """Whether a task is a nested pipeline, a loop, or an iteration with tasks in it."""
    return task.get("kind") in ("dag", "loop") or bool((task.get("inside") or {}).get("tasks"))


def total_seconds(run: View) -> float | None:
    """From the start of a run to its end; None before."""
    if not run["finished_at"]:
        return None
    took = seconds_between(run["started_at"] or run["created_at"], run["finished_at"], 0.0)
    return None if took is None else round(took, 3)


def task_rows(tasks: Sequence[View]) -> list[list[object]]:
    """Name, state, seconds, attempts and what there is to say: for `runs show`."""
    rows: list[list[object]] = []
    for task in tasks:
        said = (task["error"] or {}).get("message") or task["reason"] or ""
        seconds = "" if task["seconds"] is None else f"{task['seconds']:.1f}"
        rows.append([task["name"], task["state"], seconds, task["attempts"], said])
    return rows


def _metrics(metrics: View | None, verdict: View | None) -> list[str]:
    if not metrics or not metrics.get("candidate"):
        return []
    known = {key for key, _ in COLUMNS}
    own = [(key, key) for key in metrics.get("own_metrics") or () if key not in known]
    columns = [(key, title) for key, title in (*COLUMNS, *own) if metrics["candidate"].get(key) is not None]
    columns = [(key, f"{title:>5}") for key, title in columns]
    found = ["", " " * PAD + "   ".join(title for _, title in columns)]
    live = (verdict or {}).get("live_release") or ""
    for who in ("base", "live", "candidate"):
        scores = metrics.get(who)
        if who == "base" and not scores:  # own code stands on none
            continue
        cells = [_cell((scores or {}).get(key), len(title)) for key, title in columns]
        note = "   nothing was live" if who == "live" and not scores else ""
        note = f"   {live}" if who == "live" and scores and live else note
        found.append(f"  {who:{PAD - 2}}{'   '.join(cells)}{note}")
    left_out = metrics.get("left_out") or 0
    note = f"; {left_out} more left out, which the live release was trained on" if left_out else ""
    return [*found, f"  on {metrics['rows']} held-out rows{note}"]


def _compared(comparison: View | None) -> list[str]:
    """Further sets, slices and latency; the main set's numbers stand above."""
    if not comparison:
        return []
    parts = [("compared", table_lines(comparison, most=MOST_LINES, brief=True))]
    parts += [("latency", latency_lines(comparison))]
    return [
        line
        for title, lines in parts
        for line in ([""] if lines else [])
        + [_line("" if at else title, one) for at, one in enumerate(lines)]
    ]


def _cell(value: Any, width: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.3f}"


def _verdict(verdict: View | None) -> list[str]:
    if not verdict:
        return []
    found = [
        "",
        _line("gate", f"{'passed' if verdict['passed'] else 'REFUSED'}: {verdict.get('reason', '')}"),
    ]
    if not verdict["passed"]:  # its reason says again what stands at the rules
        found = ["", _line("gate", "REFUSED")]
    for rule in verdict["rules"]:
        origin = f"   ({rule['origin']})" if rule.get("origin") else ""
        found.append(f"    {'holds' if rule['passed'] else 'FAILS':{PAD - 4}}{rule['rule']}{origin}")
        reason = str(rule["reason"]).removeprefix("holds: ").removeprefix("does not hold: ")
        found += wrap(reason, WIDTH, initial_indent=" " * PAD, subsequent_indent=" " * PAD)
        for test in rule.get("tests") or ():
            if test.get("estimate") is not None and test.get("interval"):
                found.append(f"{'':{PAD}}{_interval(test)}")
    return found


def _interval(test: View) -> str:
    low, high = test["interval"]
    level = 100 * (1 - 2 * test["alpha"])
    return (
        f"estimate {test['estimate']:+.4f}, {level:.4g}% interval {low:+.4f} to {high:+.4f} "
        f"({test['method']}, {test['rows']} rows)"
    )


def _proof(proof: View | None) -> list[str]:
    if not proof:
        return []
    if proof["runtime"] == "pyfunc":
        return _own_proof(proof)
    bound = (proof.get("bounds") or {}).get("max_mean_logprob_diff")
    at_most = f" (at most {bound:.2f})" if isinstance(bound, int | float) else ""
    said = "holds" if proof["passed"] else "FAILED"
    quantized = "unquantized" if proof["quantization"] == "none" else proof["quantization"]
    found = [
        _line(
            "proof",
            f"{said}: served by {proof['runtime']} {proof['runtime_version']}, {quantized}",
        ),
        f"{'':{PAD}}token ids equal for {proof['token_ids_equal']} of {proof['prompts']} held-out prompts, "
        f"the same answer for {proof['answers_equal']} of {proof['decided']} decided ones",
        f"{'':{PAD}}log-probabilities {proof['mean_logprob_diff']:.3f} nat a token apart on average{at_most}"
        f", the furthest {proof['max_logprob_diff']:.3f}",
    ]
    return found + [f"{'':{PAD}}{reason}" for reason in proof.get("reasons") or ()]


def _own_proof(proof: View) -> list[str]:
    """Of a project's own code."""
    said = "holds" if proof["passed"] else "FAILED"
    found = [
        _line("proof", f"{said}: served by pyfunc, Python {proof['runtime_version']}"),
        f"{'':{PAD}}the prediction is that of `score` for {proof['rows_equal']} of {proof['rows']} rows",
    ]
    return found + [f"{'':{PAD}}{reason}" for reason in proof.get("reasons") or ()]


def _release(release: View | None) -> list[str]:
    if not release:
        return []
    because = f": {release['reason']}" if release.get("reason") else ""
    return [_line("release", f"{release['release'] or 'none'}  {release['state']}{because}")]


def _endpoint(endpoint: View | None, release: View | None, runtime: str = "") -> list[str]:
    if endpoint is None:
        return []
    name, url, live = endpoint["name"], endpoint["url"], endpoint["live"]
    tried = endpoint.get("rollout") or {}
    if release and tried.get("release") == release["release"]:
        said = f"{name}: {tried['release']} is tried beside {tried['stable']}, which stays live at {url}"
        return [_line("endpoint", said), f"{'':{PAD}}follow it: tuneline rollout status {name} -w"]
    if release and not wanted(endpoint, release):
        what = f"serves {live}" if live else f"is {endpoint['phase']}"
        return [_line("endpoint", f"{name} {what} now; {endpoint['desired'] or 'nothing'} is wanted there")]
    if release and not is_live(endpoint, release["release"]):
        why = endpoint["message"] or f"it is {endpoint['phase']}"
        still = f"{live} goes on serving at {url}" if live and url else "nothing serves"
        return [_line("endpoint", f"{name} does NOT serve {release['release']}: {why}"), f"{'':{PAD}}{still}"]
    if runtime == "pyfunc":
        how = "-H 'Content-Type: application/json' -d '{\"dataframe_records\": [{...}]}'"
        return [_line("endpoint", f"{url}  serves {live}"), f"{'':{PAD}}curl {url}/invocations {how}"]
    body = json.dumps(
        {"model": str(live).partition("@")[0], "messages": [{"role": "user", "content": "..."}]}
    )
    return [
        _line("endpoint", f"{url}  serves {live}"),
        f"{'':{PAD}}curl {url}/v1/chat/completions -H 'Content-Type: application/json' -d '{body}'",
        f'{"":{PAD}}tuneline chat {name} "..."',
    ]


def _line(title: str, text: str) -> str:
    return f"  {title:{PAD - 2}}{text}"
