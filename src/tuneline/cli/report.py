"""The report that ends a run, and the one object that `--json` prints. Pure: from API values to text."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tuneline.cli import exits

View = Mapping[str, Any]


def lines(run: View, endpoint: View | None) -> list[str]:
    """The report of an ended run, a line each."""
    report = run.get("report") or {}
    found = [f"{run['project']}: run {run['id']} {run['state'].lower()} in {_seconds(total_seconds(run))}"]
    found += _accuracy(report.get("metrics"))
    found += _verdict(report.get("verdict"))
    found += _proof(report.get("proof"))
    found += _release(report.get("release"))
    found += _endpoint(endpoint, report.get("data"))
    return found


def json_object(run: View, endpoint: View | None) -> dict[str, Any]:
    """Run id, state, tasks, metrics, verdict, proof, release and endpoint URL in one object."""
    report = run.get("report") or {}
    return {
        "run": run["id"],
        "project": run["project"],
        "state": run["state"],
        "seconds": total_seconds(run),
        "error": run["error"],
        "tasks": [
            {key: task[key] for key in ("name", "state", "seconds", "cached", "attempts", "error")}
            for task in run["tasks"]
        ],
        "metrics": report.get("metrics"),
        "verdict": report.get("verdict"),
        "proof": report.get("proof"),
        "data": report.get("data"),
        "release": report.get("release"),
        "endpoint": None
        if endpoint is None
        else {key: endpoint[key] for key in ("name", "url", "live", "phase", "message")},
        "url": endpoint["url"] if endpoint else None,
    }


def exit_code(run: View, endpoint: View | None) -> int:
    """What the command's exit status says about an ended run, and what became of its release."""
    release = (run.get("report") or {}).get("release")
    if run["state"] == "CANCELED":
        return exits.FAILURE
    if run["state"] != "SUCCEEDED" or release is None:
        return exits.FAILURE
    if release.get("state") == "rejected":
        return exits.GATE_REFUSED
    if endpoint is not None and (endpoint["phase"] == "failed" or endpoint["live"] != release["release"]):
        return exits.FAILURE
    if unchanged(run):
        return exits.NOTHING_TO_DO
    return exits.OK


def unchanged(run: View) -> bool:
    """Whether the run proposed what is a release already."""
    release = (run.get("report") or {}).get("release") or {}
    return str(release.get("reason", "")).startswith("identical to")


def failure(run: View) -> tuple[View | None, View | None]:
    """The first failed task and its error; the run's own error if no task has one."""
    for task in run["tasks"]:
        if task["state"] == "FAILED":
            return task, task["error"]
    return None, run["error"]


def total_seconds(run: View) -> float | None:
    """From the start of the first task to the end of the last, in seconds."""
    from datetime import datetime  # noqa: PLC0415 - with the two lines that use it

    if not run["started_at"] or not run["finished_at"]:
        return None
    begin, end = (datetime.fromisoformat(run[key]) for key in ("started_at", "finished_at"))
    return round((end - begin).total_seconds(), 1)


def _accuracy(metrics: View | None) -> list[str]:
    if not metrics:
        return []
    cells = []
    for who in ("base", "live", "candidate"):
        scores = metrics.get(who)
        cells.append(f"{who} {scores['accuracy']:.3f}" if scores else f"{who} -")
    left_out = (
        f", {metrics['left_out']} left out that the live release was trained on"
        if metrics.get("left_out")
        else ""
    )
    candidate = metrics["candidate"]
    return [
        f"  accuracy   {'   '.join(cells)}   ({metrics['rows']} held-out rows{left_out})",
        f"  f1         {candidate['f1']:.3f} (macro)   calibration error {candidate['ece']:.3f}",
    ]


def _verdict(verdict: View | None) -> list[str]:
    if not verdict:
        return []
    found = [f"  gate       {'passed' if verdict['passed'] else 'REFUSED'}"]
    for rule in verdict["rules"]:
        interval = rule.get("interval")
        bounds = f"  [{interval[0]:+.3f}, {interval[1]:+.3f}]" if interval else ""
        found.append(f"             {'yes' if rule['passed'] else 'NO '}  {rule['rule']}")
        found.append(f"                  {rule['reason']}{bounds}")
    return found


def _proof(proof: View | None) -> list[str]:
    if not proof:
        return []
    how = f"{proof['runtime']} {proof['runtime_version']}, {proof['quantization']}"
    same = f"{proof['token_ids_equal']}/{proof['prompts']} prompts"
    agreed = f"{proof['answers_equal']}/{proof['decided']} clear answers the same"
    apart = f"{proof['mean_logprob_diff']:.3f} nat apart on average"
    return [
        f"  proof      {'holds' if proof['passed'] else 'FAILED'}: {same} tokenized the same, {agreed}, {apart}",
        f"             by {how}",
    ]


def _release(release: View | None) -> list[str]:
    if not release:
        return []
    return [f"  release    {release['release']}  {release['state']}: {release.get('reason', '')}"]


def _endpoint(endpoint: View | None, data: View | None) -> list[str]:
    if not endpoint:
        return []
    if endpoint["phase"] == "failed":
        return [
            f"  endpoint   {endpoint['name']} FAILED: {endpoint['message']}",
            f"             still serving: {endpoint['live']}",
        ]
    if not endpoint["url"]:
        return [f"  endpoint   {endpoint['name']}: {endpoint['phase']}"]
    ask = json.dumps({"model": endpoint["name"], "prompt": "...", "max_tokens": 8})
    return [
        f"  endpoint   {endpoint['url']}  serves {endpoint['live']}",
        f'             tuneline chat {endpoint["name"]} "..."',
        f"             curl {endpoint['url']}/v1/completions -H 'Content-Type: application/json' -d '{ask}'",
    ]


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "no time"
    return f"{seconds:.1f} s" if seconds < 120 else f"{int(seconds // 60)} min {seconds % 60:.0f} s"


def task_rows(tasks: Sequence[View]) -> list[list[object]]:
    """Name, state, seconds, attempts and what there is to say: for `runs show`."""
    rows: list[list[object]] = []
    for task in tasks:
        said = (task["error"] or {}).get("message") or task["reason"] or ""
        seconds = "" if task["seconds"] is None else f"{task['seconds']:.1f}"
        rows.append([task["name"], task["state"], seconds, task["attempts"], said])
    return rows
