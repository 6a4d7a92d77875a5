"""What stands beside a task in a pod: `bring` before it, `take` while it runs and when it has ended.

The pod's own order says what to carry (`tuneline_airflow/pods.py` writes it). `take` runs as a sidecar: it
copies checkpoints while the task trains, and is sent SIGTERM when the task's container has ended, however
that was; then it puts the outputs into the bucket and says what the task put out in its termination
message. What is too long for that it prints in numbered lines, which the message counts and signs. No
credential passes through here: the buckets' libraries find the pod's own identity.
"""

import base64
import hashlib
import json
import os
import signal
import sys
import threading
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tuneline.errors import InternalError, ResourceError, TunelineError
from tuneline.execute import carrying, objects
from tuneline.execute.checkpoint_copies import Copies

T = TypeVar("T")
LINE = "tuneline-result"
CHUNK = 8000
"""Characters of a result in one printed line: runtimes cut lines over 16 KB."""
TRIES = 5


def bring(order: Mapping[str, Any], pause: Callable[[float], object]) -> None:
    """Make the task's folders and bring its inputs and its newest checkpoint.

    order: `{"inputs": [{name, uri, path}], "folders": [path], "checkpoints": {uri, path, who}}`. pause:
    waits for some seconds between tries. Raises: as `carrying.get`.
    """
    os.umask(0)  # the task may be another user
    for folder in order.get("folders", ()):
        Path(folder).mkdir(parents=True, exist_ok=True)
    for each in order.get("inputs", ()):
        path = Path(each["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        if objects.is_object(each["uri"]):
            _tried(partial(carrying.get, each["uri"], path), pause)
            _say(
                f"input {each['name']}: {carrying.described([carrying.receipt_of(path)])} from {each['uri']}"
            )
        else:
            _say(f"input {each['name']}: {each['uri']} is a name, nothing is brought")
    if copies := _copies(order):
        copies.folder.mkdir(parents=True, exist_ok=True)
        name = _tried(copies.restore, pause)
        _say(f"checkpoint {name} from {copies.uri}" if name else "no checkpoint: the task begins anew")


def take(order: Mapping[str, Any], ended: threading.Event) -> dict[str, Any]:
    """Copy checkpoints until `ended` is set, then put the outputs into the bucket.

    order: `{"outputs": [{name, uri, path}], "parameters": {name: file}, "output_file": file, "checkpoints":
    {uri, path, who}, "every_s": seconds}`. Returns: `{"values", "files", "artifacts", "error"}`: parameters
    as the executor's output has them, those in files as texts, KFP's RuntimeArtifacts by output, and the
    step's own error or None. Raises: as `carrying.put`.
    """
    copies = _copies(order)
    while not ended.wait(order.get("every_s", 10)):
        if copies:
            _save(copies)
    if copies:
        _save(copies, last=True)
    output_file = Path(order["output_file"])
    said = _json(output_file)
    values = said.get("parameterValues") or {}
    artifacts: dict[str, list[dict[str, Any]]] = {}
    receipts: list[carrying.Receipt] = []
    for each in order.get("outputs", ()):
        made = (said.get("artifacts") or {}).get(each["name"], {}).get("artifacts") or [{}]
        artifacts[each["name"]] = [_put(one, place, each, receipts) for place, one in enumerate(made)]
    _say(f"outputs: {carrying.described(receipts)}")
    files = {
        name: Path(file).read_text(encoding="utf-8", errors="replace")
        for name, file in order.get("parameters", {}).items()
        if name not in values and Path(file).is_file()
    }
    error = _json(output_file.parent / "error.json") or None
    return {"values": values, "files": files, "artifacts": artifacts, "error": error}


def main_bring(order: Mapping[str, Any]) -> int:
    """The init container. Returns the exit code; a failure is its termination message."""
    try:
        bring(order, threading.Event().wait)
    except Exception as error:
        return _failed(order, error)
    return 0


def main_take(order: Mapping[str, Any]) -> int:
    """The sidecar. Returns the exit code, which Kubernetes does not heed: the termination message counts."""
    os.umask(0)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        order = for_machine(order, os.environ)
        message = signed(take(order, ended), int(order.get("limit", 2048)), _say_line)
    except Exception as error:
        return _failed(order, error)
    _leave(order, message)
    return 0


def for_machine(order: Mapping[str, Any], env: Mapping[str, str]) -> Mapping[str, Any]:
    """What this machine takes of an order: of several that did one thing together (`first_machine_only`), all
    but the first have nothing. env: its `NODE_RANK`."""
    if not order.get("first_machine_only") or env.get("NODE_RANK", "0") == "0":
        return order
    return {key: value for key, value in order.items() if key not in ("outputs", "checkpoints")}


def signed(result: Mapping[str, Any], limit: int, line: Callable[[str], None]) -> dict[str, Any]:
    """The termination message of a result: the result itself, or its signature if it has over `limit` bytes.

    line: prints one line; those of a long result are `tuneline-result NUMBER TEXT`, base64 of its zlib.
    """
    text = json.dumps(result, separators=(",", ":"))
    whole = {"ok": True, "result": dict(result)}
    if len(json.dumps(whole, separators=(",", ":"))) <= limit:
        return whole
    packed = base64.b64encode(zlib.compress(text.encode())).decode()
    chunks = [packed[start : start + CHUNK] for start in range(0, len(packed), CHUNK)]
    for number, chunk in enumerate(chunks):
        line(f"{LINE} {number} {chunk}")
    return {"ok": True, "lines": len(chunks), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _put(
    made: Mapping[str, Any], place: int, wanted: Mapping[str, str], receipts: list[carrying.Receipt]
) -> dict[str, Any]:
    """One artifact of an output, put into the bucket: KFP's RuntimeArtifact. What is a name elsewhere
    stays."""
    root, uri = Path(wanted["path"]), str(made.get("uri") or wanted["path"])
    about = {key: made[key] for key in ("type", "metadata") if made.get(key)}
    name = str(made.get("name") or wanted["name"])
    if uri.startswith(wanted["uri"]):
        uri = str(root) + uri.removeprefix(wanted["uri"])
    path = Path(str(made.get("custom_path") or made.get("customPath") or uri))
    if "://" in uri and path == Path(uri):
        return {"name": name, "uri": uri, **about}
    inner = path.relative_to(root).as_posix() if path.is_relative_to(root) and path != root else ""
    target = "/".join(filter(None, (wanted["uri"], inner or (str(place) if place else ""))))
    receipts.append(_tried(lambda: carrying.put(path, target), threading.Event().wait))
    return {"name": name, "uri": target, **about}


def _save(copies: Copies, *, last: bool = False) -> None:
    """Copy a checkpoint; the task goes on whether that works or not."""
    try:
        if name := copies.save(last=last):
            _say(f"checkpoint {name} to {copies.uri}")
    except (TunelineError, OSError) as error:
        _say(f"a checkpoint was not copied: {error}")


def _copies(order: Mapping[str, Any]) -> Copies | None:
    body = order.get("checkpoints")
    return Copies(body["uri"], Path(body["path"]), body.get("who", "")) if body else None


def _tried(work: Callable[[], T], pause: Callable[[float], object]) -> T:
    """What `work` returns; again after 1, 2, 4, 8 s while its failure may pass."""
    for attempt in range(TRIES - 1):
        try:
            return work()
        except TunelineError as error:
            if not error.retry:
                raise
            _say(f"{error.message} Trying again.")
            pause(2.0**attempt)
    return work()


def _failed(order: Mapping[str, Any], error: Exception) -> int:
    if isinstance(error, OSError) and error.errno in (28, 122):  # ENOSPC, EDQUOT
        known: TunelineError = ResourceError(
            f"The pod's disk is full: {error}.", hint="Raise on.kubernetes.disk."
        )
    elif isinstance(error, TunelineError):
        known = error
    else:
        known = InternalError(f"The carrier broke: {type(error).__name__}: {error}", hint="See its log.")
    body = known.to_json()
    _say(f"{known.message} {known.hint}".strip())
    _leave(order, {"ok": False, "error": {**body, "message": known.message[:1000], "details": []}})
    return known.exit_code


def _leave(order: Mapping[str, Any], message: Mapping[str, Any]) -> None:
    file = Path(order.get("message") or "/dev/termination-log")
    file.write_text(json.dumps(message, separators=(",", ":")), encoding="utf-8")


def _json(path: Path) -> dict[str, Any]:
    try:
        body = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):  # a task may have been killed before or while it wrote
        return {}
    return body if isinstance(body, dict) else {}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - the carrier's log


def _say_line(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the result, which whoever runs the pod reads
