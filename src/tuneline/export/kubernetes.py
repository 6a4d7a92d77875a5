"""Manifests of an endpoint, or of a training, as files for `kubectl apply -k`, or for a repository that a
GitOps tool follows.

The same project and release give the same bytes. Nothing secret is in them: Secrets are named, never written.
Files that are not ours are never overwritten; ours that are no longer part of the endpoint are removed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from tuneline.errors import ConflictError
from tuneline.plan.manifest_training import Training, training_manifests
from tuneline.plan.manifests import file_name, manifests, ordered
from tuneline.plan.placement import On
from tuneline.plan.standing import Manifest, Wanted

HEAD = "# Written by `tuneline export kubernetes`; written anew by it, so change the project instead.\n"
TRAINING_HEAD = HEAD.replace("kubernetes", "training")
KUSTOMIZATION = "kustomization.yaml"


@dataclass(frozen=True)
class Written:
    """What a folder became."""

    files: tuple[str, ...]
    """All of them, by name."""
    changed: tuple[str, ...]
    """Of those: new, or with other content than before."""
    removed: tuple[str, ...]


def script() -> str:
    """The program of the readiness probe, as ConfigMaps have it."""
    return files("tuneline.serve").joinpath("pod_adapters.py").read_text(encoding="utf-8")


def texts(wanted: Wanted) -> dict[str, str]:
    """Every file by its name. Raises: SpecError if the base does not fit any number of GPUs."""
    found = ordered(manifests(wanted, script()))
    named = {file_name(each): _yaml(each) for each in found}
    return {KUSTOMIZATION: _yaml(kustomization(list(named))), **named}


def kustomization(resources: Sequence[str]) -> Manifest:
    """What `kubectl apply -k` reads first."""
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(resources),
    }


def write(wanted: Wanted, folder: Path) -> Written:
    """Write all files to `folder`. Nothing is written if any of them would replace a foreign one.

    Raises: ConflictError naming those; SpecError; OSError.
    """
    return _written(texts(wanted), folder, HEAD)


def write_training(training: Training, on: On, folder: Path) -> Written:
    """The same of a training on several machines. Raises: as `write`, and `training_manifests`."""
    named = {file_name(each): _yaml(each, TRAINING_HEAD) for each in training_manifests(training, on)}
    return _written(
        {KUSTOMIZATION: _yaml(kustomization(list(named)), TRAINING_HEAD), **named}, folder, TRAINING_HEAD
    )


def _written(wanted_files: Mapping[str, str], folder: Path, head: str) -> Written:
    before = _ours(folder, head)
    foreign = [name for name in wanted_files if (folder / name).exists() and name not in before]
    if foreign:
        raise ConflictError(
            f"{folder} has files that tuneline did not write: {', '.join(foreign)}.",
            hint="Give another folder with -o, or move them away.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    changed = [name for name, text in wanted_files.items() if before.get(name) != text]
    for name in changed:
        (folder / name).write_text(wanted_files[name], encoding="utf-8")
    removed = sorted(before.keys() - wanted_files.keys())
    for name in removed:
        (folder / name).unlink()
    return Written(tuple(wanted_files), tuple(changed), tuple(removed))


def _ours(folder: Path, head: str) -> dict[str, str]:
    found = {}
    for path in sorted(folder.glob("*.yaml")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if text.startswith(head):
            found[path.name] = text
    return found


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as people write them; no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        """What stands twice is written twice."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _yaml(body: Mapping[str, Any], head: str = HEAD) -> str:
    return head + yaml.dump(body, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
