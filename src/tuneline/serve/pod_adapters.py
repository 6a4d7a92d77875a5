"""The readiness probe of a pod of vLLM: loads the adapters that are listed, unloads others, and says whether
those that must be there are there.

Runs in vLLM's own image, from a ConfigMap: standard library only, one file. `adapters.json` beside it:
`[{"name", "path", "required"}]`. Exit code 0: ready. A pod that was started again, or was added, loads what
is listed before it gets requests, with or without a server of ours. Only what it can load itself is touched:
an adapter is one of ours if `/v1/models` says that it has a parent.

A mounted ConfigMap is up to two minutes older than the cluster's: what the server has just loaded is not
listed here yet. So only what an earlier list had, and this one has not, is unloaded; `/tmp` keeps what was.
"""

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

TIMEOUT_S = 50.0
LISTED = Path("/tmp/tuneline-adapters.json")
"""Names that were listed so far, in this pod's own `/tmp`."""


def main(arguments: list[str]) -> int:
    """arguments: vLLM's address, the list and what is kept of it, for tests. Returns the exit code."""
    url = arguments[0] if arguments else "http://127.0.0.1:8000"
    file = Path(arguments[1]) if len(arguments) > 1 else Path(__file__).with_name("adapters.json")
    kept = Path(arguments[2]) if len(arguments) > 2 else LISTED
    wanted = {each["name"]: each for each in json.loads(file.read_text(encoding="utf-8"))}
    listed = before(kept)
    missing = []
    try:
        models = ask(url, "/v1/models")["data"]
        loaded = {each["id"] for each in models if each.get("parent")}
        for name, each in wanted.items():
            if name not in loaded and not load(url, name, each["path"]) and each["required"]:
                missing.append(name)
        for name in sorted((loaded & listed) - wanted.keys()):
            ask(url, "/v1/unload_lora_adapter", {"lora_name": name})
        if listed != wanted.keys():
            kept.write_text(json.dumps(sorted(wanted)), encoding="utf-8")
    except (OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"vLLM at {url} cannot be asked: {error}\n")
        return 1
    if missing:
        sys.stderr.write(f"not loaded: {', '.join(missing)}\n")
    return 1 if missing else 0


def before(kept: Path) -> set[str]:
    """The names of the list before this one; none in a pod that is new, or where it cannot be read."""
    try:
        return set(json.loads(kept.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return set()


def load(url: str, name: str, path: str) -> bool:
    """Whether the adapter is loaded now."""
    try:
        ask(url, "/v1/load_lora_adapter", {"lora_name": name, "lora_path": path})
    except urllib.error.HTTPError as error:
        said = error.read(2000).decode("utf-8", "replace")
        if "already been loaded" in said:  # somebody else was faster
            return True
        sys.stderr.write(f"{name} from {path}: {error.code} {said}\n")
        return False
    return True


def ask(url: str, path: str, body: Any = None) -> Any:
    """The answer's JSON; its text where that is none. Raises: HTTPError, OSError, ValueError."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        text = answer.read()
    return json.loads(text) if body is None else text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
