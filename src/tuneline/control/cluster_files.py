"""A release's files, put where pods of a cluster find them: its adapter or package, and its base.

Each lies in a folder named by its content, so it is written once, never changed, and two releases with the
same base share it. A folder that a server was killed over is written again: the last file to come is a mark.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuneline.errors import ModelError, SettingError
from tuneline.execute import objects
from tuneline.plan.endpoints import ReleaseFacts
from tuneline.plan.standing import VLLM, Placed, files_of, rank_of
from tuneline.spec.serving import Kubernetes

DONE = ".tuneline-complete"
"""Written last."""
NOT_FOR_PODS = frozenset(("base.gguf",))
"""Files of a base artifact that vLLM does not read."""


def placed(id: str, release: ReleaseFacts, runtime: str, kubernetes: Kubernetes) -> Placed:
    """Where the pods find what the revision is made of."""
    files = files_of(release.model, release.manifest, runtime)
    base = kubernetes.base or (f"{kubernetes.adapters.rstrip('/')}/{_base_folder(release)}")
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
        _put_folder(release.base, f"{target.rstrip('/')}/{_base_folder(release)}")


def _base_folder(release: ReleaseFacts) -> str:
    digest = str(release.proof.get("base_digest", ""))
    return f"bases/{digest.removeprefix('sha256:')[:16]}"


def _put_folder(source: Path, target: str) -> None:
    found = [path for path in sorted(source.rglob("*")) if path.is_file() and path.name not in NOT_FOR_PODS]
    if not found:
        raise ModelError(f"{source} is gone, or empty.", hint="Run the project again: it is then made anew.")
    files = [(path, path.relative_to(source).as_posix()) for path in found]
    if objects.is_object(target):
        if any(each.relative == DONE for each in objects.find(target)):
            return
        objects.upload(files, target)
        mark = source.parent / f"{DONE}-{source.name}"
        mark.write_text("complete\n", encoding="ascii")
        try:
            objects.upload([(mark, DONE)], target)
        finally:
            mark.unlink(missing_ok=True)
        return
    _copy(files, Path(target))


def _copy(files: list[tuple[Path, str]], folder: Path) -> None:
    if (folder / DONE).exists():
        return
    for path, relative in files:
        (folder / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / relative)
    (folder / DONE).write_text("complete\n", encoding="ascii")


def size_gb(release: ReleaseFacts) -> float:
    """Of the base's weights on this machine, in gigabytes; 0 if they are not here."""
    return sum(path.stat().st_size for path in release.base.glob("*.safetensors")) / 1e9


def manifest_base(manifest: Mapping[str, Any]) -> str:
    """The name of a release's base, for the table of sizes."""
    base = manifest.get("base") or {}
    return str(base.get("name") or base.get("base_model") or "")
