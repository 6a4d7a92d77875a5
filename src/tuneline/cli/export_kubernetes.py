"""`tuneline export kubernetes`: an endpoint's manifests. Asks a server, if one runs, what is live."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuneline.cli.loading import load_project, overrides_option, project_argument
from tuneline.cli.output import json_option, print_json, say
from tuneline.errors import NotFoundError, SpecError

if TYPE_CHECKING:
    from tuneline.plan.standing import Placed
    from tuneline.spec.project import Project


@click.command()
@project_argument
@click.option(
    "-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path),
    help="The folder to write to; made if it is not there.",
)  # fmt: skip
@click.option(
    "--release",
    metavar="MODEL@VERSION",
    help="The release to serve; default: what is live at the endpoint, else the base as it is.",
)
@click.option(
    "--adapter", metavar="FOLDER",
    help="Where its adapter is, below `deploy.kubernetes.adapters` (or its image); no server is asked then.",
)  # fmt: skip
@overrides_option
@json_option
def kubernetes(
    project: Path,
    output: Path,
    release: str | None,
    adapter: str | None,
    params: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write the manifests of PROJECT's endpoint to a folder, for `kubectl apply -k` or GitOps.

    The same project and release give the same files. No secret is in them.
    """
    from tuneline.export.kubernetes import write  # noqa: PLC0415 - for this command alone
    from tuneline.plan.standing import engines, wanted_of  # noqa: PLC0415

    found = load_project(project, params).project
    if found.deploy.on != "kubernetes":
        raise SpecError(
            f"`{found.name}` is served here: its `deploy.on` is `{found.deploy.on}`.",
            hint="Write `deploy: {on: kubernetes, ...}`; docs/kubernetes.md has an example.",
        )
    placed = _given(found, release, adapter) if adapter else _asked(found, release)
    _check_base(found, placed)
    wanted = wanted_of(found.value("deploy"), found.base_model, [placed])
    written = write(wanted, output)
    pods = wanted.kubernetes.replicas
    takes = {each.name: wanted.capacity.text(pods) for each in engines(wanted)}
    if as_json:
        body: dict[str, Any] = {"folder": str(output), "release": placed.release, "takes": takes}
        print_json(body | {name: list(getattr(written, name)) for name in ("files", "changed", "removed")})
        return
    for name in written.files:
        click.echo(output / name)
    if placed.files and placed.base and not found.deploy.kubernetes.base:
        say(f"Its base must lie at {placed.base}: a server that serves it on a cluster puts it there.")
    say(f"{placed.release}: {len(written.changed)} files changed, {len(written.removed)} removed.")
    for name, text in takes.items():
        say(f"{name} takes {text}.")
    say(f"Next: kubectl apply -k {output}")


def _check_base(project: "Project", placed: "Placed") -> None:
    """Raises SpecError where nobody says where the base is."""
    if project.deploy.runtime != "vllm" or placed.base or project.deploy.kubernetes.base:
        return
    raise SpecError(
        f"Where pods find the base of {placed.release} is not said: `deploy.kubernetes.base` is not set.",
        hint="Give it, e.g. `-p deploy.kubernetes.base=gs://BUCKET/PATH`: only a server that has the release "
        "knows its base, and puts it beside the adapters.",
    )


def _given(project: "Project", release: str | None, adapter: str) -> "Placed":
    from tuneline.plan.standing import Placed  # noqa: PLC0415 - see above

    name = release or f"{project.name}@1.0.0"
    return Placed(name.rpartition("@")[2], name, adapter.strip("/"), project.train.r)


def _asked(project: "Project", release: str | None) -> "Placed":
    """What a server knows of the release; where none was ever live, the base as it is."""
    from tuneline.cli.connect import settings  # noqa: PLC0415 - httpx
    from tuneline.client import find_server  # noqa: PLC0415
    from tuneline.plan.standing import Placed, base_place, files_of, rank_of  # noqa: PLC0415

    client, deploy = find_server(settings()), project.deploy
    if client is None:
        if release is None:
            return _base_alone(project, "No server runs here, so nobody knows a release")
        raise SpecError(
            "No server runs here that knows the release and its adapter.",
            hint=f"Start it with `tuneline up -d`, or say where the adapter is: --adapter "
            f"{release.replace('@', '/')}.",
        )
    with client:
        name = release or _live(client, deploy.endpoint)
        if name is None:
            return _base_alone(project, f"Nothing is live at the endpoint `{deploy.endpoint}`")
        body = client.release(name)
    runtime = project.deploy.runtime
    files = files_of(name.rpartition("@")[0], body["manifest"], runtime)
    if project.deploy.kubernetes.adapters.startswith("oci://"):
        raise SpecError(
            f"`deploy.kubernetes.adapters` holds images, and nobody here knows that of {name}.",
            hint=f"Give it: --release {name} --adapter IMAGE@sha256:...",
        )
    digest = str((body.get("base") or {}).get("digest") or "")
    base = base_place(deploy.kubernetes, digest) if runtime == "vllm" and digest else ""
    return Placed(name.rpartition("@")[2], name, files, rank_of(body["manifest"]), base)


def _live(client: Any, endpoint: str) -> str | None:
    try:
        return client.live(endpoint).get("release") or None
    except NotFoundError:
        return None


def _base_alone(project: "Project", why: str) -> "Placed":
    """The base without an adapter, from where the project names it or from the hub. Raises: SpecError."""
    from tuneline.plan.standing import Placed, hub_place  # noqa: PLC0415 - see above

    kubernetes = project.deploy.kubernetes
    place = kubernetes.base or hub_place(project.base_model, tags=kubernetes.allow_tags)
    if project.deploy.runtime != "vllm" or not place:
        raise SpecError(
            f"{why}.",
            hint="`tuneline run` makes one; --release MODEL@VERSION names one that is not live. Where "
            "`deploy.kubernetes.base` is set, the base alone is served.",
        )
    say(f"{why}: the base is served as it is, from {place}.")
    return Placed("base", f"{project.name}@base", base=place)
