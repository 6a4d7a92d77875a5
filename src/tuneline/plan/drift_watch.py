"""Watching drift over time: which requests are the reference, which a window, and what is said. Pure.

A look takes at most one window: requests since the last one, each in one window only. Of more than fit, those
with the smallest hash of their id are taken, which says nothing about them.
"""

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Protocol, TypeVar

from tuneline.errors import ConflictError
from tuneline.plan.drift import Finding
from tuneline.plan.samples import Sample
from tuneline.spec.sections import DETECTORS, Drift


class Request(Protocol):
    """What is known of a request before its bodies are read."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def session(self) -> str:
        """A digest of its sticky key, or ""."""
        ...


R = TypeVar("R", bound=Request)


def settings_of(deploy: Mapping[str, Any]) -> Drift:
    """How an endpoint is watched, from what its release was deployed with; defaults where it does not say."""
    said = (deploy.get("monitor") or {}).get("drift") or {}
    known = {entry.name for entry in fields(Drift)}
    given = {name: value for name, value in said.items() if name in known}
    if "detectors" in given:
        given["detectors"] = tuple(name for name in given["detectors"] if name in DETECTORS)
    return Drift(**given)


def one_a_session(requests: Sequence[R]) -> list[R]:
    """The first request of each session, and all without one: requests of one session repeat each other."""
    seen: set[str] = set()
    kept = []
    for each in requests:
        if each.session and each.session in seen:
            continue
        seen.add(each.session)
        kept.append(each)
    return kept


def chosen(requests: Sequence[R], count: int) -> list[R]:
    """`count` of them by the hash of their id, in their order; all if there are no more."""
    if len(requests) <= count:
        return list(requests)
    ranked = sorted(requests, key=lambda each: id_hash(each.id))
    taken = {each.id for each in ranked[:count]}
    return [each for each in requests if each.id in taken]


def id_hash(id: str) -> bytes:
    """What requests are chosen by: as good as chance, and the same each time."""
    return hashlib.blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def with_feedback(samples: Sequence[Sample], scores: Mapping[str, float]) -> list[Sample]:
    """The samples with their scores. scores: by request id."""
    return [replace(one, feedback=scores[one.id]) if one.id in scores else one for one in samples]


QUOTING = ("prompt_words", "output_label")
"""Detectors whose words are users' own: those stay out of the ledger and of logs."""


def why(release: str, findings: Sequence[Finding]) -> str:
    """One sentence about the detectors that say drift, without users' words; "" if none does."""
    told = [
        f"{each.detector} ({'' if each.detector in QUOTING else f'{each.said}, '}p = {each.p:.1e})"
        for each in findings
        if each.drifted
    ]
    return f"requests of {release} drifted: {'; '.join(told)}" if told else ""


def since(windows: Sequence[Mapping[str, Any]], detector: str) -> Any:
    """The window from which on `detector` has said drift without a break; None if it does not now.

    windows: the newest first. Those in which it had too few values say nothing.
    """
    first = None
    for window in windows:
        verdict = {each["detector"]: each["verdict"] for each in window["findings"]}.get(detector)
        if verdict == "none":
            break
        if verdict == "drift":
            first = window
    return first


def packed(samples: Sequence[Sample]) -> bytes:
    """Samples as a file's bytes: equal for equal samples."""
    rows = [{name: value for name, value in vars(one).items() if value not in (None, {})} for one in samples]
    return gzip.compress(json.dumps(rows, separators=(",", ":")).encode("utf-8", "surrogatepass"), mtime=0)


def unpacked(data: bytes) -> list[Sample]:
    """The samples of a file. Raises: ConflictError if it is none."""
    try:
        rows = json.loads(gzip.decompress(data).decode("utf-8", "surrogatepass"))
        return [
            Sample(**{**row, **({"words": tuple(row["words"])} if "words" in row else {})}) for row in rows
        ]
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise ConflictError(f"The reference is no file of samples: {error}.") from error
