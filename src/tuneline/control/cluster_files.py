"""A release's files, put where pods of a cluster find them: its adapter or package, and its base.

Each lies in a folder named by its content, so it is written once, never changed, and two releases with the
same base share it. A folder that a server was killed over is written again: the last file to come is a mark.
"""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuneline.errors import ModelError, SettingError
from tuneline.execute import objects
from tuneline.plan.endpoints import ReleaseFacts
from tuneline.plan.standing import VLLM, Placed, base_folder, base_place, files_of, rank_of
from tuneline.spec.serving import Kubernetes

DONE = ".complete"
"""Beside the folder, written last: a package has no file in it that is not its own."""
NOT_FOR_PODS = frozenset(("base.gguf",))
"""Files of a base artifact that vLLM does not read."""


def placed(id: str, release: ReleaseFacts, runtime: str, kubernetes: Kubernetes) -> Placed:
    """Where the pods find what the revision is made of."""
    files = files_of(release.model, release.manifest, runtime)
    base = base_place(kubernetes, _base_digest(release))
    rank = rank_of(release.manifest) if runtime == VLLM else 0
    return Placed(id, release.release, files, rank, base if runtime == VLLM else "")


def put(release: ReleaseFacts, runtime: str, kubernetes: Kubernetes) -> None:
    """Bring what is not there yet. Raises: SettingError if nobody here can write there; ModelError if the
    release has no such files; NetworkError, ResourceError."""
    target = kubernetes.upload or (kubernetes.adapters if objects.is_object(kubernetes.adapters) else "")
    if kubernetes.adapters.startswith("oci://") or not target:
        raise SettingError(
            f"Nobody here can write to `{kubernetes.adapters}`.",
            hint="Give a bucket as `deploy.kubernetes.adapters`, or `upload`; images need `tuneline export`.",
        )
    source = release.package / "adapter" if runtime == VLLM else release.package
    _put_folder(source, f"{target.rstrip('/')}/{files_of(release.model, release.manifest, runtime)}")
    if runtime == VLLM and not kubernetes.base:
        _put_folder(release.base, f"{target.rstrip('/')}/{base_folder(_base_digest(release))}")


def _base_digest(release: ReleaseFacts) -> str:
    return str(release.proof.get("base_digest", ""))


def _put_folder(source: Path, target: str) -> None:
    found = [path for path in sorted(source.rglob("*")) if path.is_file() and path.name not in NOT_FOR_PODS]
    if not found:
        raise ModelError(f"{source} is gone, or empty.", hint="Run the project again: it is then made anew.")
    files = [(path, path.relative_to(source).as_posix()) for path in found]
    if objects.is_object(target):
        _upload(files, target)
    else:
        _copy(files, Path(target))


def _upload(files: list[tuple[Path, str]], target: str) -> None:
    if objects.find(target + DONE):
        return
    objects.upload(files, target)
    with tempfile.NamedTemporaryFile("w", encoding="ascii") as mark:
        mark.write("complete\n")
        mark.flush()
        objects.upload([(Path(mark.name), "")], target + DONE)


def _copy(files: list[tuple[Path, str]], folder: Path) -> None:
    mark = folder.with_name(folder.name + DONE)
    if mark.exists():
        return
    for path, relative in files:
        (folder / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / relative)
    mark.write_text("complete\n", encoding="ascii")


def manifest_base(manifest: Mapping[str, Any]) -> str:
    """The name of a release's base, for the table of sizes."""
    base = manifest.get("base") or {}
    return str(base.get("name") or base.get("base_model") or "")
