"""Where pods find files, as volumes: a bucket by GKE's driver with a file cache, a claim, an image. Pure.

Other buckets than Google's are mounted by drivers that need a PersistentVolume made once for the cluster:
there a claim (`pvc://`) is given instead.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

GCS: Final = "gcsfuse.csi.storage.gke.io"
GCS_CACHE: Final = "gke-gcsfuse-cache"
"""The name by which GKE's driver knows the volume that it caches files in."""
SIDECAR: Final = "gke-gcsfuse"
"""Of the annotations that say what the driver's container in the pod may take."""
OWN_DISK_GB: Final = 10
"""What the pod's other containers write beside that cache: compiled kernels, logs."""


@dataclass(frozen=True)
class Mounted:
    """A place as a container sees it."""

    path: str
    """Where the files are; for the hub, the name to ask it for."""
    volumes: tuple[Mapping[str, Any], ...] = ()
    mounts: tuple[Mapping[str, Any], ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Of the pod."""
    revision: str = ""
    """Of the hub."""


def mounted(place: str, name: str, at: str, cache_gb: float = 0.0) -> Mounted:
    """The volume of a place that is written as `deploy.kubernetes.base` is.

    name: of the volume. at: where it is mounted. cache_gb: how much of a bucket is cached beside the pod.
    """
    scheme, _, rest = place.partition("://")
    if scheme == "hf":
        model, _, revision = rest.partition("@")
        return Mounted(model, revision=revision)
    if scheme == "oci":
        return Mounted(at, (_image(name, rest),), (_mount(name, at),))
    inside = rest.partition("/")[2].strip("/")
    if scheme == "pvc":
        claim = {"claimName": rest.partition("/")[0], "readOnly": True}
        volume = {"name": name, "persistentVolumeClaim": claim}
        return Mounted(at, (volume,), (_mount(name, at, inside),))
    return _bucket(rest.partition("/")[0], inside, name, at, cache_gb)


def _bucket(bucket: str, inside: str, name: str, at: str, cache_gb: float) -> Mounted:
    options = ["implicit-dirs", *([f"only-dir={inside}"] if inside else [])]
    attributes = {"bucketName": bucket}
    annotations = {f"{SIDECAR}/volumes": "true"}
    volumes: list[Mapping[str, Any]] = []
    if cache_gb:
        cached = math.ceil(cache_gb)
        attributes |= {"fileCacheCapacity": f"{cached}Gi", "fileCacheForRangeRead": "true"}
        volumes.append({"name": GCS_CACHE, "emptyDir": {"sizeLimit": f"{cached + 1}Gi"}})
        # by default that container may take 5Gi of disk, 256Mi and a quarter of a core; the kubelet evicts a
        # pod whose emptyDirs hold more than its containers' limits of disk together
        annotations |= {
            f"{SIDECAR}/ephemeral-storage-limit": f"{cached + 1 + OWN_DISK_GB}Gi",
            f"{SIDECAR}/memory-limit": "1Gi",
            f"{SIDECAR}/cpu-limit": "1",
        }
    attributes["mountOptions"] = ",".join(options)
    csi = {"driver": GCS, "readOnly": True, "volumeAttributes": attributes}
    volumes.append({"name": name, "csi": csi})
    return Mounted(at, tuple(volumes), (_mount(name, at),), annotations)


def _image(name: str, reference: str) -> dict[str, Any]:
    return {"name": name, "image": {"reference": reference, "pullPolicy": "IfNotPresent"}}


def _mount(name: str, at: str, inside: str = "") -> dict[str, Any]:
    mount: dict[str, Any] = {"name": name, "mountPath": at, "readOnly": True}
    return {**mount, "subPath": inside} if inside else mount
