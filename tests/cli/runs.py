"""Runs as the API gives them, for tests of what is made of them."""

from typing import Any

AT = 1_795_000_000.0
"""Unix seconds of `created_at` below."""
CREATED = "2026-11-18T11:06:40.000Z"

METRICS = {
    "rows": 427,
    "left_out": 3,
    "base": {"accuracy": 0.588, "f1": 0.553, "log_loss": 0.69, "ece": 0.05},
    "live": {"accuracy": 0.838, "f1": 0.837, "log_loss": 0.4, "ece": 0.02},
    "candidate": {"accuracy": 0.843, "f1": 0.842, "log_loss": 0.39, "ece": 0.021},
}
TEST = {
    "test": "noninferior(accuracy, live, margin=0.04)",
    "passed": True,
    "estimate": 0.005,
    "interval": [-0.0279, 0.0579],
    "alpha": 0.05,
    "method": "Tango score bound",
    "rows": 427,
}
VERDICT = {
    "passed": True,
    "reason": "all 2 rules hold",
    "rows": 427,
    "live_release": "reviews@1.0.0",
    "rules": [
        {"rule": "accuracy >= 0.80", "passed": True, "reason": "holds: accuracy is 0.8430", "tests": []},
        {"rule": TEST["test"], "passed": True, "reason": "accuracy +0.0050 against live", "tests": [TEST]},
    ],
}
PROOF = {
    "passed": True, "runtime": "llamacpp", "runtime_version": "2026.10.1", "quantization": "Q4_K_M",
    "prompts": 64, "token_ids_equal": 64, "decided": 62, "answers_equal": 62, "agreement": 1.0,
    "mean_logprob_diff": 0.012, "max_logprob_diff": 0.09, "reasons": [],
    "bounds": {"max_mean_logprob_diff": 0.1},
}  # fmt: skip


def task(name: str, state: str, **values: Any) -> dict[str, Any]:
    """A task; `progress` as (done, total, unit) for short."""
    progress = values.pop("progress", None)
    if isinstance(progress, tuple):
        progress = dict(zip(("done", "total", "unit"), progress, strict=True)) | {"type": "progress"}
    return {
        "name": name, "state": state, "attempts": 0 if state in ("PENDING", "CACHED", "SKIPPED") else 1,
        "seconds": None, "cached": state == "CACHED", "error": None, "reason": "", "retry_at": None,
        "outputs": {"parameters": {}, "artifacts": {}}, "progress": progress, **values,
    }  # fmt: skip


def run(state: str, *tasks: dict[str, Any], **report: Any) -> dict[str, Any]:
    """A run that took 221 seconds if it has ended. `report`: metrics, verdict, proof, release, data."""
    ended = state in ("SUCCEEDED", "FAILED", "CANCELED")
    empty = {"metrics": None, "verdict": None, "proof": None, "release": None, "data": None}
    return {
        "id": "20261118-110640-abc123", "name": "reviews-20261118-110640-abc123", "project": "reviews",
        "state": state, "created_at": CREATED, "started_at": CREATED,
        "finished_at": "2026-11-18T11:10:21.000Z" if ended else None,
        "parameters": {}, "error": None, "tasks": list(tasks), "report": empty | report,
    }  # fmt: skip


def release(state: str = "approved", reason: str = "first release") -> dict[str, Any]:
    """What `propose` put out."""
    return {"release": "reviews@1.1.0", "state": state, "reason": reason}


def endpoint(**changes: Any) -> dict[str, Any]:
    """An endpoint that serves that release."""
    return {
        "name": "reviews", "url": "http://127.0.0.1:8100", "port": 8100, "desired": "reviews@1.1.0",
        "live": "reviews@1.1.0", "live_digest": "sha256:1", "phase": "live", "message": "", "revisions": [],
        **changes,
    }  # fmt: skip
