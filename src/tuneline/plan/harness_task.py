"""What a task of own code does: rows and a folder to the user's entry, what it returns to files.

Embedded in components behind `harness`, whose names it uses. A fault of the user's code ends the process
with 1, its own part of the traceback on stderr and, for whoever runs the task, in `error.json` beside the
executor's output.
"""

import atexit
import base64
import inspect
import json
import math
import os
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tuneline.plan.harness import (
    TUNELINE_JSON,
    Failed,
    guarded,
    loaded,
    make_importable,
    plain,
    predictor,
)


def run_train(
    files: Mapping[str, str] | str, entries: Sequence[str], params: Any, rows: str, model: str
) -> dict[str, float]:
    """Train with `entries[0]`: `main(rows, model_dir, params)` writes the model; the numbers it returns."""
    code = _scratch()
    write_code(code, files)
    make_importable(code, entries)
    os.makedirs(model, exist_ok=True)
    entry = entries[0]
    given = called(entry, code, loaded(code, entry), read_rows(rows), model, params)
    if not os.listdir(model):
        raise Failed(f"`{entry}` wrote nothing to the model's folder, which is its second argument.")
    found = {} if given is None else numbers_of(entry, given)
    return {name: value for name, value in found.items() if math.isfinite(value)}


def run_score(
    files: Mapping[str, str] | str,
    entries: Sequence[str],
    about: Mapping[str, Any],
    params: Any,
    rows: str,
    model: str,
    scores: str,
    code: str = "",
) -> dict[str, float]:
    """Score a model on held-out rows with `entries[0]`, or with its own `predict` (`entries[1]`).

    model: its folder, a release's package, or an empty folder where nothing is live. Writes `scores`, a JSON
    file; with `code`, the folder that a release carries, and what `predict` says of the rows of the proof.
    """
    if not os.listdir(model):
        _write_json(scores, {"metrics": {}, "predictions": None, "served": None})
        return {}
    packaged = os.path.isfile(os.path.join(model, "manifest.json"))
    model = os.path.join(model, "model") if packaged else model
    place = code or _scratch()
    write_code(place, files)
    make_importable(place, [entry for entry in entries if entry] or ["."])
    evaluate, serve = entries[0], entries[1]
    found: dict[str, Any] = {"metrics": {}, "predictions": None, "served": None}
    held_out = read_rows(rows)
    with open(os.path.join(rows, "info.json"), encoding="utf-8") as file:
        info = json.load(file)
    shown = [{name: value for name, value in row.items() if name != info["label"]} for row in held_out]
    if evaluate:
        given = called(evaluate, place, loaded(place, evaluate), held_out, model, params)
        found |= _evaluated(evaluate, given, len(held_out))
    predict = predictor(place, model, serve) if code or not evaluate else None
    if predict is not None and not evaluate:
        found["predictions"] = _as_many(serve or "the model", predict(shown, None), len(shown))
    if code and predict is not None:
        at = info["proof"]
        said = _as_many(serve or "the model", predict([shown[index] for index in at], None), len(at))
        found["served"] = {"rows": at, "predictions": said}
        _write_json(os.path.join(code, TUNELINE_JSON), {**about, "example": shown[at[0]]})
        _remove_caches(code)
    _write_json(scores, found)
    metrics: dict[str, float] = found["metrics"]
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _scratch() -> str:
    folder = tempfile.mkdtemp(prefix="code-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _evaluated(entry: str, given: Any, rows: int) -> dict[str, Any]:
    if not isinstance(given, Mapping) or not {"metrics", "predictions"} & set(given):
        raise Failed(
            f'`{entry}` must return {{"metrics": {{...}}, "predictions": [...]}}, not {type(given).__name__}.'
        )
    said = given.get("predictions")
    predictions = None if said is None else _as_many(entry, plain(said), rows)
    return {"metrics": numbers_of(entry, given.get("metrics") or {}), "predictions": predictions}


def _as_many(what: str, predictions: Any, rows: int) -> list[Any]:
    if not isinstance(predictions, list) or len(predictions) != rows:
        number = len(predictions) if isinstance(predictions, list) else type(predictions).__name__
        raise Failed(
            f"`{what}` gave {number} predictions for {rows} rows: it must be one for each, in order."
        )
    return predictions


def _remove_caches(folder: str) -> None:
    """Bytecode that importing left: it is not the same on every machine."""
    for place, _, names in os.walk(folder, topdown=False):
        if os.path.basename(place) == "__pycache__":
            for name in names:
                os.remove(os.path.join(place, name))
            os.rmdir(place)


def _write_json(path: str, body: Any) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(body, file, indent=1, sort_keys=True, ensure_ascii=False)
        file.write("\n")


def reporting(work: Callable[..., dict[str, float]], *arguments: Any) -> dict[str, float]:
    """What `work` gives; its failure ends the process, and is left in `error.json` for whoever runs it."""
    try:
        return work(*arguments)
    except Failed as failure:
        hint = "See the task's log for all of its output."
        body = {"code": "own_code", "message": failure.message, "hint": hint, "details": failure.details}
        try:
            given = json.loads(sys.argv[sys.argv.index("--executor_input") + 1])
            folder = os.path.dirname(given["outputs"]["outputFile"])
            _write_json(os.path.join(folder, "error.json"), {**body, "retry": False})
        except (ValueError, LookupError, OSError):
            pass  # run by somebody who does not read it
        print(failure.message, file=sys.stderr, flush=True)  # noqa: T201 - the task's log
        raise SystemExit(1) from None


def unpacked(files: Mapping[str, str] | str) -> dict[str, str]:
    """Path to text; a text is the same as JSON, compressed, in base 64."""
    if isinstance(files, str):
        found: dict[str, str] = json.loads(zlib.decompress(base64.b64decode(files)))
        return found
    return dict(files)


def write_code(folder: str, files: Mapping[str, str] | str) -> None:
    """Write the files below a folder."""
    for path, text in unpacked(files).items():
        place = os.path.join(folder, *path.split("/"))
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "w", encoding="utf-8") as file:
            file.write(text)


def called(what: str, code: str, function: Callable[..., Any], rows: Any, folder: str, params: Any) -> Any:
    """`function(rows, folder, params)`, or without `params` where it takes two arguments alone."""
    try:
        inspect.signature(function).bind(rows, folder, params)
    except TypeError:
        return guarded(what, code, function, rows, folder)
    except ValueError:  # a builtin that does not say what it takes
        pass
    return guarded(what, code, function, rows, folder, params)


def read_rows(folder: str) -> list[dict[str, Any]]:
    """The rows of a prepared side, column to value."""
    with open(os.path.join(folder, "rows.jsonl"), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def numbers_of(what: str, metrics: Any) -> dict[str, float]:
    """Metrics as numbers. Raises: Failed, naming the one that is none."""
    if not isinstance(metrics, Mapping):
        raise Failed(f"`{what}` must give metrics as a dict of numbers, not {type(metrics).__name__}.")
    found = {}
    for name, value in metrics.items():
        number = plain(value)
        if not isinstance(number, (int, float)) or not str(name).isidentifier():
            raise Failed(f"`{what}` gives the metric `{name}` as {str(number)[:100]!r}: it must be a number.")
        found[str(name)] = float(number)
    return found
