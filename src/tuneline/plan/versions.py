"""Which version a new release gets, and why: pure, from the manifests of the releases before it.

major   the template, the labels or the base changed: what a caller sends or reads may be different
minor   which data was asked for, or the recipe, changed
patch   the same recipe saw fresh rows (or gave other weights from the same rows)

A release is compared with the highest version of its model, whatever became of that one. Identical content
never gets here: it is recognised by its digest first.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import semver

FIRST = "1.0.0"

Manifest = Mapping[str, Any]
"""A package's `manifest.json`, with `data` beside it: what `data_definition` gave for its run, if that is
known.

A manifest holds digests of rows, which are fresh at every run; `data` says whether other rows were *asked
for*.
"""

PINS = frozenset(("data_sha256", "data_prompt", "data_completion", "data_format"))
"""Root inputs of the data that are no definition of it: a pin of its bytes, and what the template's hash
covers."""


def next_version(previous: Sequence[tuple[str, Manifest]], manifest: Manifest) -> tuple[str, str]:
    """The version of the release with `manifest`, and the reason in words.

    previous: (version, manifest) of every release of the model so far, in any order.
    """
    if not previous:
        return FIRST, "first release"
    text, before = max(previous, key=lambda item: semver.Version.parse(item[0]))
    latest = semver.Version.parse(text)
    major = list(_interface_changes(before, manifest))
    if major:
        return str(latest.bump_major()), f"major since {latest}: {_join(major)} changed"
    minor = list(_recipe_changes(before, manifest))
    if minor:
        return str(latest.bump_minor()), f"minor since {latest}: {_join(minor)} changed"
    patch = latest.bump_patch()
    if any(before.get(name) != manifest.get(name) for name in ("rows_digest", "data_digest")):
        return str(patch), f"patch since {latest}: the same recipe saw fresh rows"
    return str(patch), f"patch since {latest}: the same recipe and rows gave other weights"


def data_definition(ir: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Which data a run asked for: the values of its pipeline's inputs `data_*`. Empty for a pipeline without
    any."""
    inputs = ir.get("root", {}).get("inputDefinitions", {}).get("parameters", {})
    wanted = sorted(name for name in inputs if name.startswith("data_") and name not in PINS)
    return {name: parameters.get(name, inputs[name].get("defaultValue")) for name in wanted}


def _interface_changes(before: Manifest, now: Manifest) -> Iterable[str]:
    if before.get("template_hash") != now.get("template_hash"):
        yield "the template"
    gone, new = _label_changes(before, now)
    if gone or new:
        words = [*(f"+{label}" for label in new), *(f"-{label}" for label in gone)]
        yield f"the labels ({', '.join(words)})"
    if _base(before) != _base(now):
        yield (
            f"the base ({_name(before)} to {_name(now)})"
            if _name(before) != _name(now)
            else "the base's files"
        )


def _recipe_changes(before: Manifest, now: Manifest) -> Iterable[str]:
    asked, asks = before.get("data") or {}, now.get("data") or {}
    if asked and asks and asked != asks:
        names = sorted(key for key in asked.keys() | asks.keys() if asked.get(key) != asks.get(key))
        yield f"the data ({', '.join(name.removeprefix('data_') for name in names)})"
    old, new = dict(before.get("recipe") or {}), dict(now.get("recipe") or {})
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    words = [f"{key} {old.get(key, 'unset')} to {new.get(key, 'unset')}" for key in keys[:3]]
    if len(keys) > 3:
        words.append(f"{len(keys) - 3} more")
    if before.get("method") != now.get("method"):
        words.insert(0, f"method {before.get('method')} to {now.get('method')}")
    if words:
        yield f"the recipe ({', '.join(words)})"
    elif before.get("recipe_digest") != now.get("recipe_digest"):
        yield "the recipe"


def _label_changes(before: Manifest, now: Manifest) -> tuple[list[str], list[str]]:
    old, new = set(before.get("labels") or ()), set(now.get("labels") or ())
    return sorted(old - new), sorted(new - old)


def _base(manifest: Manifest) -> tuple[Any, ...]:
    """What makes two bases the same: their bytes and how they split text, not where they came from."""
    base = manifest.get("base") or {}
    content = base.get("file_sha256") or base.get("name")
    return content, base.get("quantization"), manifest.get("tokenizer_hash") or base.get("tokenizer_hash")


def _name(manifest: Manifest) -> str:
    return str((manifest.get("base") or {}).get("name") or "unnamed")


def _join(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
