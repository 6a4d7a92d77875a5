"""Commands about what tasks put out, what it came from and what came of it: `artifacts`, `lineage`."""

import json
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tuneline.cli.connect import server
from tuneline.cli.output import json_option, print_json, print_table, say, short_time
from tuneline.cli.releases import forced
from tuneline.errors import ConflictError, DataError, ResourceError
from tuneline.execute.digests import digest_path

LONGEST = 200
"""Longest value of a parameter that is shown whole, in characters."""


@click.group()
def artifacts() -> None:
    """List, show and download what tasks put out."""


@artifacts.command(name="list")
@click.option("--run", help="Only those of this run.")
@click.option("--task", help="Only those of this task.")
@click.option("--type", help="Only of this type, e.g. system.Model.")
@click.option("--digest", help="Only with this content, sha256:...")
@click.option("--limit", default=50, type=click.IntRange(1, 1000), help="How many at most.")
@json_option
def list_(
    run: str | None, task: str | None, type: str | None, digest: str | None, limit: int, as_json: bool
) -> None:
    """Artifacts, the newest first."""
    with server() as client:
        found = client.artifacts(limit, run=run, task=task, type=type, digest=digest)
    if as_json:
        print_json(found)
        return
    rows = [
        [row["id"], row["type"], row["size_bytes"], short_time(row["created_at"]), row["digest"][:19]]
        for row in found
    ]
    print_table(["artifact", "type", "bytes", "created", "digest"], rows, "No artifacts.")


@artifacts.command()
@click.argument("artifact")
@json_option
def show(artifact: str, as_json: bool) -> None:
    """One ARTIFACT, by its id or its digest."""
    with server() as client:
        found = client.artifact(artifact)
    if as_json:
        print_json(found)
        return
    for name in ("id", "type", "run", "task", "uri", "digest", "size_bytes", "created_at"):
        click.echo(f"{name:12} {found[name]}")
    for key, value in found["metadata"].items():
        click.echo(f"{'metadata':12} {key} = {value}")


@artifacts.command()
@click.argument("artifact")
@click.option(
    "-o",
    "output",
    required=True,
    type=click.Path(path_type=Path),
    help="Where it shall be; nothing may be there.",
)
def download(artifact: str, output: Path) -> None:
    """Bring the content of ARTIFACT here, a file or a folder, and check its digest."""
    if output.exists():
        raise ConflictError(f"{output} is there already.", hint="Give another path, or delete it first.")
    try:
        with server() as client, tempfile.TemporaryDirectory(dir=output.absolute().parent) as made:
            found = client.artifact(artifact)
            content = Path(made) / "content"
            with content.open("wb") as file:
                kind = client.content(found["id"], file.write)
            if kind == "folder":
                content = _unpacked(content, Path(made) / "folder")
            _check(found, content)
            content.replace(output)
    except OSError as error:
        raise ResourceError(
            f"{error.filename or output} could not be written: {error.strerror or error}.",
            hint="Give a path in a folder you may write to, on a disk with free space.",
        ) from error
    say(f"{found['id']} is at {output}.")


@click.command()
@click.argument("name", metavar="ARTIFACT|RELEASE")
@click.option("--up", is_flag=True, help="Only what it came from.")
@click.option("--down", is_flag=True, help="Only what came of it.")
@click.option("--depth", default=10, type=click.IntRange(0, 100), help="How many tasks far.")
@json_option
def lineage(name: str, up: bool, down: bool, depth: int, as_json: bool) -> None:
    """What an artifact (id or digest) or a release (MODEL@VERSION) came from, and what came of it.

    Of a release also its run, sources, code, commit and parameters.
    """
    direction = "up" if up and not down else "down" if down and not up else "both"
    with server() as client:
        found = client.lineage(name, direction, depth)
        made = client.provenance(name) if "@" in name and "/" not in name and direction != "down" else None
    if as_json:
        print_json(found | ({"provenance": made} if made else {}))
        return
    for line in _provenance(made) if made else ():
        click.echo(line)
    for way, said in (("up", "came from"), ("down", "became")):
        if direction in (way, "both"):
            click.echo(f"{name} {said}:")
            lines = _tree(found, way)
            for line in lines or ["  nothing on record"]:
                click.echo(line)
    if found["truncated"]:
        say("There is more: ask with a greater --depth, or from another artifact.")


def _provenance(made: Mapping[str, Any]) -> list[str]:
    """What a release is made of: run, sources, parameters and code."""
    run = made["run"]
    lines = [f"{made['release']} was made:"]
    if run is None:
        lines.append("  by a run that is not on record here")
    else:
        commit = f", commit {run['commit']}" if run["commit"] else ""
        lines.append(f"  by run {run['id']} of {run['project']} at {short_time(run['created_at'])}")
        lines.append(f"  from project file {run['project_digest'] or '-'}{commit}")
    for each in made["source"]:
        lines.append(f"  from {each['source']}, {each['size_bytes']} bytes, {each['digest']}")
    if made["base"]:
        lines.append(f"  on base {made['base']['digest']}")
    lines += [f"  forced {forced(said)}" for said in made["forced"]]
    width = max((len(each["task"]) for each in made["code"]), default=0)
    for each in made["code"]:
        other = "" if run and each["run"] == run["id"] else f"  in run {each['run']}"
        lines.append(f"  by code {each['task']:{width}}  {each['digest'] or 'not noted'}{other}")
    for name, value in (made["parameters"] or {}).items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        lines.append(f"  with {name} = {text if len(text) <= LONGEST else text[:LONGEST] + ' ...'}")
    return lines


def _unpacked(archive: Path, folder: Path) -> Path:
    folder.mkdir()
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder


def _check(found: Mapping[str, Any], content: Path) -> None:
    if "://" in str(found["uri"]):  # the server has compared what came from the bucket
        return
    digest, _ = digest_path(content)
    if digest != found["digest"]:
        raise DataError(
            f"{found['id']} is not what was recorded: its digest is {digest}, not {found['digest']}.",
            hint="It was changed where it lies; the task that made it can be run again.",
        )


def _tree(found: Mapping[str, Any], way: str) -> list[str]:
    """Lines, each node under the one it was reached from; what was shown before is not opened again."""
    ends = ("to", "from") if way == "up" else ("from", "to")
    nodes = _named(found)
    next_to: dict[str, list[tuple[str, str]]] = {}
    for edge in found["edges"]:
        next_to.setdefault(edge[ends[0]], []).append((edge["key"], edge[ends[1]]))
    lines: list[str] = []
    shown = set(found["roots"])
    todo = [(1, key, node) for root in reversed(found["roots"]) for key, node in next_to.get(root, [])[::-1]]
    while todo:
        indent, key, node = todo.pop()
        again = node in shown
        lines.append(f"{'  ' * indent}{nodes.get(node, node)}  ({key}){' ...' if again else ''}")
        if not again:
            shown.add(node)
            todo += [(indent + 1, *each) for each in next_to.get(node, [])[::-1]]
    return lines


def _named(found: Mapping[str, Any]) -> dict[str, str]:
    named = {f"artifact:{row['id']}": f"{row['id']}  {row['type']}" for row in found["artifacts"]}
    for row in found["executions"]:
        named[f"execution:{row['id']}"] = f"task {row['task']} of {row['run_name']}  {row['state']}"
    for row in found["releases"]:
        named[f"release:{row['release']}"] = f"release {row['release']}  {row['state']}"
    return named
