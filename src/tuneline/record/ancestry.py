"""What an artifact came from and what came of it: the graph of artifacts, executions and releases, read only.

A step of the walk is one execution: from an artifact to those it was made from, or to those made of it.
Content also crosses runs by its digest: what an execution without inputs put out (an importer, the live
release) may be what another run made before; and a release's package and base are artifacts with its digests.
Every node is visited once, so nothing that refers to itself can keep a walk going, and a walk ends after
`depth` steps or `limit` nodes and says so.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, RowMapping, or_, select

from tuneline.errors import NotFoundError
from tuneline.record.releases import split
from tuneline.record.schema import artifacts, executions, links, releases, runs
from tuneline.record.store import Store
from tuneline.types import digest_json

_CHUNK = 500
"""How many values one statement asks for."""
_NOTHING = digest_json(None)
"""The digest of an artifact that has no file (`execute.files.MISSING`): equal for all of them."""

_NEAR = {"up": "output", "down": "input"}
_FAR = {"up": "input", "down": "output"}
"""Direction of a walk -> that of the links on an execution's near and far side."""

Edge = tuple[str, str, str]
"""From, to, key: in the direction in which content flows. Ends are `artifact:<id>` and so on."""


@dataclass
class Walk:
    """What a walk found."""

    artifacts: dict[str, RowMapping] = field(default_factory=dict)
    executions: dict[str, RowMapping] = field(default_factory=dict)
    """With `run_name` and `project` of their run."""
    releases: dict[str, RowMapping] = field(default_factory=dict)
    edges: dict[Edge, None] = field(default_factory=dict)
    truncated: bool = False
    """There is more beyond `depth` or `limit`."""

    @property
    def size(self) -> int:
        """How many nodes."""
        return len(self.artifacts) + len(self.executions) + len(self.releases)


class Ancestry:
    """The artifacts of one record."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, id: str) -> RowMapping:
        """An artifact by its id, or the newest one with a digest (`sha256:...`). Raises NotFoundError."""
        found = self.all(digest=id, limit=1) if id.startswith("sha256:") else self._by_id(id)
        if not found:
            raise NotFoundError(
                f"There is no artifact `{id}`.",
                hint="`tuneline artifacts list` shows them; a digest is written whole, sha256:...",
            )
        return found[0]

    def all(
        self,
        run: str | None = None,
        task: str | None = None,
        type: str | None = None,
        digest: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Sequence[RowMapping]:
        """Rows of artifacts, the newest first; only those that fit. after: an id to go on behind."""
        wanted = select(artifacts).order_by(artifacts.c.created_at.desc(), artifacts.c.id.desc())
        given = {"run": run, "task": task, "type": type, "digest": digest}
        for name, value in given.items():
            if value is not None:
                wanted = wanted.where(artifacts.c[name] == value)
        with self._store.read() as db:
            if after is not None:
                last = db.execute(select(artifacts.c.created_at).where(artifacts.c.id == after)).first()
                if last is not None:
                    older = artifacts.c.created_at < last.created_at
                    same = (artifacts.c.created_at == last.created_at) & (artifacts.c.id < after)
                    wanted = wanted.where(or_(older, same))
            return db.execute(wanted.limit(limit)).mappings().all()

    def of_artifact(self, id: str, directions: Collection[str], depth: int, limit: int) -> Walk:
        """The walk from an artifact, or from all with a digest. directions: `up`, `down` or both.

        Raises: NotFoundError.
        """
        self.get(id)
        with self._store.read() as db:
            column = artifacts.c.digest if id.startswith("sha256:") else artifacts.c.id
            start = db.execute(select(artifacts).where(column == id)).mappings().all()
            return _walked(db, start, (), directions, depth, limit)

    def of_release(self, release: str, directions: Collection[str], depth: int, limit: int) -> Walk:
        """The walk from the package and the base of `model@version`. Raises: NotFoundError, UserError."""
        model, version = split(release)
        with self._store.read() as db:
            mine = (releases.c.model == model, releases.c.version == version)
            row = db.execute(select(releases).where(*mine)).mappings().first()
            if row is None:
                raise NotFoundError(
                    f"There is no release {release}.", hint="`tuneline releases list MODEL` shows them."
                )
            parts = (row["package_digest"], row["base_digest"])
            start = db.execute(select(artifacts).where(artifacts.c.digest.in_(parts))).mappings().all()
            # of the many runs that had this package or base, the one that made the release
            own = [each for each in start if each["run"] == row["run"]] or start
            return _walked(db, own, (row,), directions, depth, limit)

    def _by_id(self, id: str) -> Sequence[RowMapping]:
        with self._store.read() as db:
            return db.execute(select(artifacts).where(artifacts.c.id == id)).mappings().all()


def _walked(
    db: Connection, start: Sequence[RowMapping], made: Sequence[RowMapping], directions: Collection[str],
    depth: int, limit: int,
) -> Walk:  # fmt: skip
    walk = Walk()
    for row in start:
        walk.artifacts[row["id"]] = row
    for row in made:
        _release(walk, row, start)
    for direction in ("up", "down"):
        if direction not in directions:
            continue
        edge = list(start)
        for _ in range(depth):
            if edge:
                edge = _step(db, walk, edge, direction, limit)
        walk.truncated |= bool(edge and _touching(db, edge, direction))
    known = {f"artifact:{id}" for id in walk.artifacts} | {f"execution:{id}" for id in walk.executions}
    known |= {f"release:{name}" for name in walk.releases}
    walk.edges = {edge: None for edge in walk.edges if edge[0] in known and edge[1] in known}
    return walk


def _step(
    db: Connection, walk: Walk, edge: Sequence[RowMapping], direction: str, limit: int
) -> list[RowMapping]:
    """One execution further from the artifacts of `edge`: the artifacts found new."""
    near = _touching(db, edge, direction)
    new = {link.execution for link in near} - set(walk.executions)
    far = [link for link in _links(db, links.c.execution, new) if link.direction == _FAR[direction]]
    found = {row["id"]: row for row in _same_content(db, walk, edge, direction)}
    for row in _rows(db, select(artifacts), artifacts.c.id, {link.artifact for link in far}):
        found[row["id"]] = row
    for link in (*near, *far):
        walk.edges[_edge(link)] = None
    _know(db, walk, new)
    if direction == "down":
        _released(db, walk, edge)
    fresh = [row for id, row in found.items() if id not in walk.artifacts]
    kept = fresh[: max(0, limit - walk.size)]
    walk.truncated |= len(kept) < len(fresh)
    walk.artifacts |= {row["id"]: row for row in kept}
    return kept


def _touching(db: Connection, edge: Sequence[RowMapping], direction: str) -> list[Row[Any]]:
    """Links of artifacts to the executions on that side: up, what made them; down, what read them."""
    all_links = _links(db, links.c.artifact, {row["id"] for row in edge})
    found = [link for link in all_links if link.direction == _NEAR[direction]]
    if direction == "down":
        return found
    # a cached task points at the artifacts of the one it repeats: that one made them
    ran = [link for link in found if "/cached-" not in link.execution]
    made = {link.artifact for link in ran}
    return ran + [link for link in found if link.artifact not in made]


def _same_content(db: Connection, walk: Walk, edge: Sequence[RowMapping], direction: str) -> list[RowMapping]:
    """Other artifacts with the same bytes: up, the one that was made and then imported; down, its imports."""
    digests = {row["digest"] for row in edge if row["size_bytes"] and row["digest"] != _NOTHING}
    others = _rows(db, select(artifacts), artifacts.c.digest, digests)
    sourced = _without_inputs(db, {row["id"] for row in (*edge, *others)})
    found = []
    for mine in edge:
        same = [row for row in others if row["digest"] == mine["digest"] and row["id"] != mine["id"]]
        if direction == "up" and mine["id"] in sourced:
            made = [
                row for row in same if row["id"] not in sourced and row["created_at"] <= mine["created_at"]
            ]
            pairs = [(row, mine) for row in sorted(made, key=lambda row: row["created_at"])[-1:]]
        elif direction == "down" and mine["id"] not in sourced:
            later = [row for row in same if row["id"] in sourced and row["created_at"] >= mine["created_at"]]
            pairs = [(mine, row) for row in later]
        else:
            continue
        for early, late in pairs:
            walk.edges[f"artifact:{early['id']}", f"artifact:{late['id']}", "same content"] = None
            found.append(early if direction == "up" else late)
    return found


def _without_inputs(db: Connection, ids: Collection[str]) -> set[str]:
    """Those artifacts whose execution read none: it brought them from somewhere else."""
    made = [link for link in _links(db, links.c.artifact, ids) if link.direction == "output"]
    all_links = _links(db, links.c.execution, {link.execution for link in made})
    reading = {link.execution for link in all_links if link.direction == "input"}
    return {link.artifact for link in made if link.execution not in reading}


def _released(db: Connection, walk: Walk, found: Sequence[RowMapping]) -> None:
    """Know the releases that are made of these."""
    digests = {row["digest"] for row in found if row["size_bytes"]}
    for column in (releases.c.package_digest, releases.c.base_digest):
        for row in _rows(db, select(releases), column, digests):
            _release(walk, row, found)


def _release(walk: Walk, row: RowMapping, found: Sequence[RowMapping]) -> None:
    name = f"{row['model']}@{row['version']}"
    walk.releases[name] = row
    for artifact in found:
        for key in ("package", "base"):
            if artifact["digest"] == row[f"{key}_digest"]:
                walk.edges[f"artifact:{artifact['id']}", f"release:{name}", key] = None


def _know(db: Connection, walk: Walk, ids: Collection[str]) -> None:
    names = ("id", "run", "task", "attempt", "state", "started_at", "finished_at", "code")
    shown = (*(executions.c[name] for name in names), runs.c.name.label("run_name"), runs.c.project)
    wanted = select(*shown).join(runs, runs.c.id == executions.c.run)
    for row in _rows(db, wanted, executions.c.id, ids):
        walk.executions[row["id"]] = row


def _edge(link: Row[Any]) -> Edge:
    artifact, execution = f"artifact:{link.artifact}", f"execution:{link.execution}"
    return (artifact, execution, link.key) if link.direction == "input" else (execution, artifact, link.key)


def _links(db: Connection, column: Any, values: Iterable[str]) -> list[Row[Any]]:
    found: list[Row[Any]] = []
    for part in _chunks(values):
        wanted = select(links).where(column.in_(part))
        found += db.execute(wanted.order_by(links.c.execution, links.c.direction, links.c.key)).all()
    return found


def _rows(db: Connection, wanted: Any, column: Any, values: Iterable[str]) -> list[RowMapping]:
    found: list[RowMapping] = []
    for part in _chunks(values):
        found += db.execute(wanted.where(column.in_(part)).order_by(column)).mappings().all()
    return found


def _chunks(values: Iterable[str]) -> Iterable[list[str]]:
    listed = sorted(set(values))
    return (listed[place : place + _CHUNK] for place in range(0, len(listed), _CHUNK))
