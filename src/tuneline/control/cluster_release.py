"""A release on a cluster: whether it may be served, what it is first asked, what an earlier
server left of it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tuneline.control.cluster_files import put
from tuneline.control.routes import Routes
from tuneline.errors import ModelError
from tuneline.plan.endpoints import Desired, ReleaseFacts
from tuneline.plan.revisions import Revision, Role, State
from tuneline.plan.standing import VLLM, Placed, from_deploy
from tuneline.serve import package as packages
from tuneline.serve.loading import read_json
from tuneline.serve.proof import check_servable
from tuneline.serve.pyfunc import ABOUT
from tuneline.serve.pyfunc_program import CODE
from tuneline.serve.runtimes import proven_by
from tuneline.spec.serving import Kubernetes


def check(release: ReleaseFacts, desired: Desired) -> None:
    """Its package is whole and proven, and its files are where pods find them.

    Raises: ModelError, ProofError; what `put` raises.
    """
    if not release.package.is_dir():
        raise ModelError(
            f"The package of {release.release} is gone: {release.package}.",
            hint="Run the project again: an identical package is made anew.",
        )
    package = packages.load(release.package)
    runtime, version = proven_by(desired.runtime, here=False), str(release.proof.get("runtime_version"))
    check_servable(package, release.proof, runtime, version, release.base)
    put(release, desired.runtime, from_deploy(desired.deploy))


def first_request(release: ReleaseFacts, runtime: str, place: Placed) -> tuple[str, Mapping[str, Any]]:
    """Path and body of the request that warms a revision up."""
    if runtime == VLLM:
        return "/v1/completions", {
            "model": place.release,
            "prompt": "Hello",
            "max_tokens": 1,
            "temperature": 0,
        }
    row = read_json(release.package / "served" / CODE / ABOUT)["example"]
    return "/invocations", {"dataframe_records": [row]}


def url_of(endpoint: str, kubernetes: Kubernetes) -> str:
    """Where clients ask: the route's first host, else the Service in the cluster."""
    hosts = [host for host in kubernetes.hosts if not host.startswith("*")]
    return f"http://{hosts[0]}" if hosts else f"http://{endpoint}.{kubernetes.namespace}.svc"


def adopted(revision: Revision, routes: Routes, now: float) -> Revision:
    """A revision of an earlier server; traffic.json knows best what is live."""
    if revision.id == routes.routed and revision.role is not Role.LIVE:
        revision = replace(revision, role=Role.LIVE, since=now)
    elif revision.id != routes.routed and revision.role is Role.LIVE:
        revision = replace(revision, role=Role.KEPT, since=now)
    if revision.state is State.DOWN:
        revision = replace(revision, failures=0, retry_at=0.0, final=False)
    return revision
