"""What stands on a cluster for one endpoint: the values that `manifests` is made from, and names. Pure.

    requests -> (Gateway, HTTPRoute) -> router -> engine

An **engine** is what computes: a Deployment of vLLM with one base, on which the adapters of several revisions
are loaded side by side, or one of own code, for one revision. Revisions with the same base share an engine;
anything that its pods are made of makes another one. A **router** gives each request to its revision, names
the adapter to vLLM, says who answered and writes request lines. With a Gateway each revision has a router of
its own, and the weights are the route's; without, or where users shall stay with one release, one router has
all revisions, and the weights are its own.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from tuneline.plan.capacity import Capacity, capacity
from tuneline.spec.serving import Kubernetes
from tuneline.types import digest_json

VLLM: Final = "vllm"
PORT: Final = 8000
"""Where engines and routers answer."""
ADMIN_PORT: Final = 8081
"""Where a router is told of traffic, and asked for request lines."""
DOMAIN: Final = "tuneline.dev"
RANKS: Final = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as the largest rank."""
NOT_OF_PODS: Final = frozenset((
    "namespace", "context", "router_image", "allow_tags", "upload", "replicas", "max_replicas", "scale_by",
    "scale_metric", "scale_at", "prometheus", "service", "router_replicas", "gateway", "hosts",
    "gateway_header",
))  # fmt: skip
"""What may change of `deploy.kubernetes` without another engine."""
Manifest = dict[str, Any]


@dataclass(frozen=True)
class Placed:
    """One revision."""

    id: str
    release: str
    """`model@version`."""
    files: str = ""
    """The folder below `adapters` that has its adapter, or its package; with `oci://` the image's reference.
    Empty: the base as it is."""
    rank: int = 8
    """Of its adapter."""
    base: str = ""
    """Where its base is, as `deploy.kubernetes.base`; empty: as that says."""
    own: Kubernetes | None = None
    """What it was begun with, where that is known: its engine stays so when the project says otherwise."""
    base_model: str = ""
    """Of its own, likewise."""


@dataclass(frozen=True)
class Wanted:
    """All of one endpoint."""

    endpoint: str
    runtime: str
    """`vllm` or `pyfunc`."""
    kubernetes: Kubernetes
    base_model: str
    """Of the project: its size is looked up by it."""
    revisions: tuple[Placed, ...] = ()
    live: str = ""
    """The id of the revision that gets what no other one gets; empty: nobody is asked."""
    candidate: str = ""
    weight: float = 0.0
    """Percent of the requests that the candidate gets."""
    shadow: bool = False
    """Whether the candidate gets copies."""
    sticky: tuple[str, ...] = ()
    """Headers that keep a user with one release, where that is asked."""
    traffic: Mapping[str, Any] = field(default_factory=dict)
    """More of the routers' traffic.json: limits, bodies, seed, generation."""

    own_weights: bool = False
    """Whether the weights must be a router's: what is compared answer by answer, no gateway compares."""

    def as_of(self, revision: Placed) -> "Wanted":
        """The same, as it is for one revision's engine."""
        if revision.own is None:
            return self
        asked = self.kubernetes
        own = replace(revision.own, namespace=asked.namespace, gateway=asked.gateway)
        return replace(self, kubernetes=own, base_model=revision.base_model or self.base_model)

    @property
    def capacity(self) -> Capacity:
        """Of one pod of an engine. Raises: SpecError."""
        return capacity(self.kubernetes, self.base_model, self.runtime)

    @property
    def by_gateway(self) -> bool:
        """Whether the weights are the route's: a gateway keeps no user with a release."""
        return bool(self.kubernetes.gateway) and not self.sticky and not self.own_weights

    def weights(self) -> Mapping[str, float]:
        """Percent by revision."""
        shares = {each.id: 0.0 for each in self.revisions}
        if self.live:
            shares[self.live] = 100.0 - (self.weight if self.candidate else 0.0)
        if self.candidate:
            shares[self.candidate] = self.weight
        return shares


@dataclass(frozen=True)
class Engine:
    """One Deployment that computes, and the revisions it computes for."""

    name: str
    base: str
    files: str
    """Where the pod itself is made of one revision's files: an image, or a package. Else empty."""
    rank: int
    revisions: tuple[Placed, ...]


def engines(wanted: Wanted) -> tuple[Engine, ...]:
    """The engines that the revisions need, in the revisions' order."""
    found: dict[str, Engine] = {}
    for each in wanted.revisions:
        engine = engine_of(wanted, each)
        if engine.name in found:
            engine = replace(engine, revisions=(*found[engine.name].revisions, each))
        found[engine.name] = engine
    return tuple(found.values())


def engine_of(wanted: Wanted, revision: Placed) -> Engine:
    """The engine of one revision."""
    wanted = wanted.as_of(revision)
    own = wanted.runtime != VLLM or wanted.kubernetes.adapters.startswith("oci://")
    files, base = revision.files if own else "", base_of(wanted, revision)
    rank = next((each for each in RANKS if each >= revision.rank), RANKS[-1])
    # what makes other pods makes another engine: an engine's pods never change under what is live
    pods = {name: each for name, each in asdict(wanted.kubernetes).items() if name not in NOT_OF_PODS}
    made_of = {
        **pods, "base": base, "files": files, "rank": rank, "runtime": wanted.runtime,
        "lora": bool(revision.files), "capacity": asdict(wanted.capacity),
        "release": revision.release if wanted.runtime != VLLM else "",
    }  # fmt: skip
    key = digest_json(made_of)[7:15]
    return Engine(f"{wanted.endpoint}-{wanted.runtime}-{key}", base, files, rank, (revision,))


def base_of(wanted: Wanted, revision: Placed) -> str:
    """Where the base of a revision is."""
    return "" if wanted.runtime != VLLM else revision.base or wanted.as_of(revision).kubernetes.base


def router_of(wanted: Wanted, revision: Placed) -> str:
    """The name of the router's objects that has a revision."""
    return f"{wanted.endpoint}-{slug(revision.id)}" if wanted.by_gateway else wanted.endpoint


def slug(text: str) -> str:
    """A revision's id or a version as part of a name: `1.1.0-2` is `1-1-0-2`."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return plain if len(plain) <= 20 else f"{plain[:11].strip('-')}-{digest_json(text)[7:15]}"


def labels(wanted: Wanted, component: str, instance: str) -> dict[str, str]:
    """Kubernetes' own conventional labels, and ours. component: `engine` or `router`."""
    return {**selector(wanted, component, instance), "app.kubernetes.io/part-of": wanted.endpoint,
            "app.kubernetes.io/managed-by": "tuneline"}  # fmt: skip


def selector(wanted: Wanted, component: str, instance: str) -> dict[str, str]:
    """What picks the pods; it can never change."""
    name = wanted.runtime if component == "engine" else "tuneline-router"
    return {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/instance": instance,
        "app.kubernetes.io/component": component,
        f"{DOMAIN}/endpoint": wanted.endpoint,
    }


def metadata(wanted: Wanted, name: str, component: str, instance: str = "") -> dict[str, Any]:
    """Of an object. instance: the Deployment it belongs to, if it is named otherwise."""
    found = labels(wanted, component, instance or name)
    return {"name": name, "namespace": wanted.kubernetes.namespace, "labels": found}


def address(wanted: Wanted, engine: Engine) -> str:
    """The host name of an engine in the cluster."""
    return f"{engine.name}.{wanted.kubernetes.namespace}.svc"


def wanted_of(deploy: Mapping[str, Any], base_model: str, revisions: Sequence[Placed] = ()) -> Wanted:
    """What a project's `deploy`, as JSON, wants; the first revision is live, the others are asked nothing."""
    bodies, rollout = float(deploy.get("keep_bodies", 0.0)), deploy.get("rollout") or {}
    limits = {"max_concurrent": 0, "max_queue": 100, "queue_timeout_s": 10.0}
    traffic = {
        "limits": {name: deploy.get(name, usual) for name, usual in limits.items()},
        "bodies": {"share": bodies} if bodies > 0 else None,
        "workers": int(deploy.get("workers", 1)),
        "sticky_seed": digest_json(str(deploy["endpoint"]))[7:23],
    }
    return Wanted(
        endpoint=str(deploy["endpoint"]),
        runtime=str(deploy.get("runtime", VLLM)),
        kubernetes=from_deploy(deploy),
        base_model=base_model,
        revisions=tuple(revisions),
        live=revisions[0].id if revisions else "",
        sticky=tuple(rollout.get("sticky", ())),
        traffic=traffic,
        own_weights="agreement" in (*rollout.get("metrics", ()), *rollout.get("watched", ())),
    )


def files_of(model: str, manifest: Mapping[str, Any], runtime: str) -> str:
    """The folder below `adapters` with what a release adds to its base: by content, so it never changes.

    manifest: of its package. With own code it is the whole package.
    """
    digest = str(manifest["adapter_digest"]) if runtime == VLLM else digest_json(manifest)
    return f"{model}/{digest.removeprefix('sha256:')[:16]}"


def base_folder(digest: str) -> str:
    """The folder below `adapters` with the base that releases were trained on, where none is named."""
    return f"bases/{digest.removeprefix('sha256:')[:16]}"


def base_place(kubernetes: Kubernetes, digest: str) -> str:
    """Where pods find the base of a release, as `deploy.kubernetes.base` is written. digest: of that base."""
    return kubernetes.base or f"{kubernetes.adapters.rstrip('/')}/{base_folder(digest)}"


def hub_place(base_model: str, *, tags: bool) -> str:
    """A base by its `hf://` address, as `deploy.kubernetes.base` is written; empty for another one, and for
    one without a revision where `tags` does not allow that."""
    return base_model if base_model.startswith("hf://") and (tags or "@" in base_model) else ""


def rank_of(manifest: Mapping[str, Any]) -> int:
    """The rank of a release's adapter, as its package says."""
    return int((manifest.get("recipe") or {}).get("r") or RANKS[0])


def from_deploy(deploy: Mapping[str, Any]) -> Kubernetes:
    """`deploy.kubernetes` as JSON has it; keys that are not known are left out."""
    body = deploy.get("kubernetes") or {}
    known: dict[str, Any] = {name: body[name] for name in Kubernetes.__dataclass_fields__ if name in body}
    listed = {name: tuple(one) for name, one in known.items() if isinstance(one, list)}
    return Kubernetes(**(known | listed))
