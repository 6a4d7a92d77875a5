"""What stands between a pipeline and a user's own code: finds an entry, gives it rows, takes what it returns.

Its text is embedded in the components that `plan.own_code` writes (with that of `harness_task`), and loaded
by the worker of the `pyfunc` runtime: it runs in the user's environment, so it imports the standard library
alone and nothing of tuneline. A fault of the user's code is `Failed`, with its own part of the traceback.
"""

import importlib
import inspect
import os
import pickle
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

PICKLES = ("model.joblib", "model.pkl", "model.pickle")
"""What is loaded from the model's folder where `deploy.entry` is not written."""
SHOWN_LINES = 12
"""Of a traceback, in an error."""
TUNELINE_JSON = "tuneline.json"


class Failed(Exception):
    """The user's code did not do what it should; `details` are the last lines of its traceback."""

    def __init__(self, message: str, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message, self.details = message, list(details)


def make_importable(code: str, entries: Sequence[str]) -> None:
    """Put the code's folder, and those of its entries, before all others that Python imports from."""
    folders = [os.path.dirname(os.path.join(code, entry.rpartition(":")[0])) for entry in entries if entry]
    for place in dict.fromkeys([code, *reversed(folders)]):
        if place in sys.path:
            sys.path.remove(place)
        sys.path.insert(0, place)


def loaded(code: str, entry: str) -> Callable[..., Any]:
    """The function of an entry `path.py:name`. Raises: Failed with what its import said."""
    path, _, name = entry.rpartition(":")
    module = guarded(entry, code, importlib.import_module, path.removesuffix(".py").replace("/", "."))
    found = getattr(module, name, None)
    if not callable(found):
        raise Failed(f"`{entry}`: `{name}` in {path} is no function.")
    call: Callable[..., Any] = found
    return call


def guarded(what: str, code: str, call: Callable[..., Any], *arguments: Any) -> Any:
    """What `call` gives. Raises: Failed, with the part of the traceback that is the user's."""
    try:
        return call(*arguments)
    except Failed:
        raise
    except (Exception, SystemExit) as error:
        tail = error.__traceback__
        while tail is not None and not _is_own(tail.tb_frame.f_code.co_filename, code):
            tail = tail.tb_next
        said = traceback.format_exception(type(error), error, tail or error.__traceback__)
        lines = "".join(said).replace(code + os.sep, "").rstrip().splitlines()
        print("\n".join(lines), file=sys.stderr, flush=True)  # noqa: T201 - the task's log
        text = f"{type(error).__name__}: {error}".rstrip(": ").splitlines()[0][:500]
        raise Failed(f"`{what}` failed: {text}", lines[-SHOWN_LINES:]) from error


def _is_own(file: str, code: str) -> bool:
    return os.path.abspath(file).startswith(os.path.abspath(code) + os.sep)


def plain(value: Any) -> Any:
    """A value as JSON has it: arrays, scalars and tables of numpy, pandas and polars become lists and
    numbers.

    Raises: Failed for what JSON has no word for.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value.item() if isinstance(value, float) and hasattr(value, "item") else value  # numpy's
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if hasattr(value, "to_dicts"):  # polars
        return plain(value.to_dicts())
    if hasattr(value, "to_dict") and hasattr(value, "columns"):  # pandas
        return plain(value.to_dict(orient="records"))
    for name in ("tolist", "to_list"):
        if hasattr(value, name):
            return plain(getattr(value, name)())
    if hasattr(value, "__iter__") and not isinstance(value, (bytes, set)):
        return [plain(entry) for entry in value]
    raise Failed(f"A value of type {type(value).__name__} cannot be written as JSON: {str(value)[:100]}")


def predictor(code: str, model: str, entry: str) -> Callable[[Any, Any], Any]:
    """What answers: `entry(model)`'s `predict`, or what the model's folder holds. Raises: Failed.

    The function it gives takes rows, and parameters or None.
    """
    what, made = entry or "the model", None
    if entry:
        made = guarded(entry, code, loaded(code, entry), model)
    elif os.path.isfile(os.path.join(model, "MLmodel")):
        made = guarded("the MLflow model", code, _mlflow_model, model)
    else:
        made = guarded("the model", code, _unpickled, model)
    predict = getattr(made, "predict", made)
    if not callable(predict):
        raise Failed(f"`{what}` gave {type(made).__name__}, which has no `predict` and is no function.")
    takes_params = _takes(predict, "params")

    def answer(rows: Any, params: Any = None) -> Any:
        if params is not None and takes_params:
            return plain(guarded(what, code, lambda: predict(rows, params=params)))
        return plain(guarded(what, code, predict, rows))

    return answer


def _takes(function: Callable[..., Any], name: str) -> bool:
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def _mlflow_model(folder: str) -> Any:
    frames = importlib.import_module("pandas")
    model = importlib.import_module("mlflow.pyfunc").load_model(folder)
    return lambda rows: model.predict(frames.DataFrame(rows))


def _unpickled(folder: str) -> Any:
    name = next((name for name in PICKLES if os.path.isfile(os.path.join(folder, name))), "")
    if not name:
        raise Failed(
            f"The model's folder holds {', '.join(sorted(os.listdir(folder))) or 'nothing'}, and "
            "`deploy.entry` does not say how to load it; by itself only an MLflow model or "
            f"{', '.join(PICKLES)} is loaded."
        )
    path = os.path.join(folder, name)
    if name.endswith(".joblib"):
        return importlib.import_module("joblib").load(path)
    with open(path, "rb") as file:
        return pickle.load(file)
