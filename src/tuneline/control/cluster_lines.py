"""Request lines of routers in pods, brought into the endpoint's own `segments/`, each once.

From there they are what lines of a router at home are: rollouts are decided by them, they are ingested, and
feedback finds its answer. What was brought is kept in `pulled.json`; what is being appended is written there
before, so that a server that is killed in between neither loses a line nor has one twice. Lines of a pod that
is deleted before its last second was read are lost, as those of a router that is killed are.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tuneline.serve.router_log import SEGMENT_BYTES
from tuneline.serve.traffic import read_json, replace_json

FILE = "pulled.json"
Read = Callable[[str, int], bytes]
"""Name of a pod's segment, and from which byte on: whole lines."""


class Pulled:
    """One endpoint's. Used by one thread."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._segments = folder, folder / "segments"
        self._state: dict[str, Any] = {"pods": {}, **read_json(folder / FILE)}
        if "under_way" in self._state:
            self._settle(self._state.pop("under_way"))

    def pull(self, pod: str, segments: Mapping[str, int], read: Read) -> int:
        """Bring what a pod has more than before; bytes brought. pod: its uid. segments: size by name."""
        known = self._state["pods"].setdefault(pod, {})
        brought = 0
        for name, size in sorted(segments.items()):
            start = int(known.get(name, 0))
            data = read(name, start) if size > start else b""
            if data:
                self._append(pod, name, start, data)
                brought += len(data)
        gone = known.keys() - segments.keys()  # the router deletes its oldest
        for name in gone:
            del known[name]
        return brought

    def forget(self, pods: set[str]) -> None:
        """Pods that are no more."""
        gone = self._state["pods"].keys() - pods
        if gone:
            self._state["pods"] = {name: each for name, each in self._state["pods"].items() if name in pods}
            self._save()

    def _append(self, pod: str, name: str, start: int, data: bytes) -> None:
        target = self._target()
        size = target.stat().st_size if target.exists() else 0
        step = {
            "pod": pod,
            "name": name,
            "end": start + len(data),
            "file": target.name,
            "size": size + len(data),
        }
        self._save(under_way=step)
        with target.open("ab") as file:
            file.write(data)
        self._state["pods"][pod][name] = start + len(data)
        self._save()

    def _settle(self, step: Mapping[str, Any]) -> None:
        """What a killed server was about to append: it is there, whole, or was not, or in part."""
        target = self._segments / step["file"]
        size = target.stat().st_size if target.exists() else 0
        if size >= step["size"]:
            self._state["pods"].setdefault(step["pod"], {})[step["name"]] = step["end"]
        elif target.exists():
            data = target.read_bytes()
            whole = data.rfind(b"\n") + 1
            if whole < size:  # half a line: nobody has read it
                with target.open("r+b") as file:
                    file.truncate(whole)
            missing = step["size"] - whole
            self._state["pods"].setdefault(step["pod"], {})[step["name"]] = step["end"] - missing
        self._save()

    def _target(self) -> Path:
        """The segment that is appended to."""
        self._segments.mkdir(parents=True, exist_ok=True)
        there = sorted(path for path in self._segments.glob("*.jsonl") if path.stem.isdigit())
        if there and there[-1].stat().st_size < SEGMENT_BYTES:
            return there[-1]
        return self._segments / f"{(int(there[-1].stem) if there else 0) + 1:08d}.jsonl"

    def _save(self, **more: Any) -> None:
        replace_json(self._folder / FILE, {**self._state, **more})


def segments_of(answer: bytes) -> dict[str, int]:
    """Size by name, of a pod's `GET /segments`. Raises: ValueError, KeyError."""
    return {str(each["name"]): int(each["size"]) for each in json.loads(answer)["segments"]}
