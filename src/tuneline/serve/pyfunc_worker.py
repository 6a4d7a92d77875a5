"""Answers with a user's own `predict`, in the user's own environment: a child of the runtime `pyfunc`.

    python -I pyfunc_worker.py HARNESS CODE MODEL ENTRY ENTRIES

One JSON object a line on standard input, one on standard output, in order. What the user's code prints goes
to standard error. It imports the standard library, the harness (a path: its folder must not be imported
from) and whatever the user's code does; it ends when its input does.
"""

import importlib.util
import json
import math
import os
import sys
from typing import Any


def main(harness: str, code: str, model: str, entry: str, entries: str) -> int:
    """Answer until there are no more questions. Returns the exit code: 1 if the model cannot be loaded."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a print must not be taken for a reply
    sys.stdout = os.fdopen(os.dup(2), "w", buffering=1)
    sys.dont_write_bytecode = True  # the code's folder is part of the release's package
    helping = _module(harness)
    helping.make_importable(code, json.loads(entries))
    try:
        predict = helping.predictor(code, model, entry)
    except helping.Failed as failure:
        _say(replies, {"error": failure.message, "details": failure.details})
        return 1
    _say(replies, {"ready": True})
    for line in sys.stdin:
        _say(replies, _answered(helping, predict, json.loads(line)))
    return 0


def _answered(helping: Any, predict: Any, asked: Any) -> dict[str, Any]:
    try:
        return {"predictions": _finite(predict(asked["rows"], asked.get("params")))}
    except helping.Failed as failure:
        return {"error": failure.message, "details": failure.details}
    except RecursionError as error:
        return {"error": f"The predictions cannot be written as JSON: {error}", "details": []}


def _finite(value: Any) -> Any:
    """JSON has no word for nan and infinity: null, as MLflow has it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    return [_finite(entry) for entry in value] if isinstance(value, list) else value


def _say(replies: Any, body: dict[str, Any]) -> None:
    replies.write(json.dumps(body, separators=(",", ":")) + "\n")
    replies.flush()


def _module(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("tuneline_harness", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
