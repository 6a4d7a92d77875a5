"""Where artifacts came from and what came of them, on both databases."""

import pytest
from sqlalchemy import insert, select

from tuneline.actions.provenance import provenance
from tuneline.errors import NotFoundError, UserError
from tuneline.execute.files import MISSING
from tuneline.plan import events as e
from tuneline.plan.events import ArtifactRef, Outputs
from tuneline.record.schema import executions, links
from tuneline.types import digest_json

BOTH = ("up", "down")


class Line:
    """Writes runs as the runner does, task after task."""

    def __init__(self, record, new_run) -> None:
        self.record, self.new_run, self.at = record, new_run, 100.0
        self.leases = {}

    def begin(self, run: str, *tasks: str) -> None:
        ir = {"pipelineInfo": {"name": "line"}, "root": {"dag": {"tasks": {task: {} for task in tasks}}}}
        self.record.runs.create(self.new_run(run, project=run, ir=ir), self.at)
        self.leases[run] = self.record.runs.lease(run)

    def task(self, run: str, task: str, reads=(), makes=(), ok: bool = True) -> None:
        """reads: ids; makes: (key, content) pairs."""
        read = e.Read({}, {f"in{n}": (id,) for n, id in enumerate(reads)})
        started = e.AttemptStarted(task, 1, 1, 1.0, f"/{task}/1", f"key-{run}-{task}", read=read)
        if ok:
            refs = {key: (self.ref(run, task, key, text),) for key, text in makes}
            ended = e.TaskSucceeded(task, 1, Outputs({}, refs), f"key-{run}-{task}")
        else:
            ended = e.AttemptFailed(task, 1, 1, {"code": "x", "message": "no"})
        self.at += 1
        self.record.runs.append(self.leases[run], [started, ended], self.at)

    def ref(self, run, task, key, text) -> ArtifactRef:
        id = f"{run}/{task}/1/{key}"
        digest = digest_json(text) if text is not None else MISSING
        return ArtifactRef(key, "system.Model", f"/{id}", digest, 9 if text else 0, {}, id)


@pytest.fixture
def line(record, new_run, proposal):
    """r1 makes a release; r2 starts from it; r1's data also goes into a task that fails."""
    made = Line(record, new_run)
    made.begin("r1", "fetch", "loop-1/0/tune", "package", "look")
    made.task("r1", "fetch", makes=[("rows", "rows")])
    made.task("r1", "loop-1/0/tune", ["r1/fetch/1/rows"], [("adapter", "adapter"), ("metrics", None)])
    made.task("r1", "package", ["r1/loop-1/0/tune/1/adapter"], [("package", "pack")])
    made.task("r1", "look", ["r1/fetch/1/rows"], ok=False)
    record.releases.propose(proposal(package_digest=digest_json("pack"), run="r1"), 150.0)
    made.at = 200.0
    made.begin("r2", "live", "tune")
    made.task("r2", "live", makes=[("init", "pack"), ("nothing", None)])
    made.task("r2", "tune", ["r2/live/1/init"], [("adapter", "adapter 2")])
    return made


def walk(record, name, directions=BOTH, depth=10, limit=1000):
    ask = record.ancestry.of_release if "@" in name else record.ancestry.of_artifact
    return ask(name, directions, depth, limit)


def test_up_leads_to_everything_it_was_made_of_and_nothing_else(line, record):
    found = walk(record, "r1/package/1/package", ["up"])
    assert set(found.artifacts) == {"r1/package/1/package", "r1/loop-1/0/tune/1/adapter", "r1/fetch/1/rows"}
    assert set(found.executions) == {"r1/package/1", "r1/loop-1/0/tune/1", "r1/fetch/1"}
    assert ("execution:r1/fetch/1", "artifact:r1/fetch/1/rows", "rows") in found.edges
    assert ("artifact:r1/fetch/1/rows", "execution:r1/loop-1/0/tune/1", "in0") in found.edges
    assert (len(found.edges), found.truncated, found.releases) == (5, False, {})


def test_down_leads_to_what_read_it_what_was_made_of_it_and_to_the_release(line, record):
    found = walk(record, "r1/fetch/1/rows", ["down"])
    assert found.executions["r1/look/1"]["state"] == "FAILED"
    assert set(found.releases) == {"reviews@1.0.0"}
    assert ("artifact:r1/package/1/package", "release:reviews@1.0.0", "package") in found.edges
    # r2 started from the release: the same bytes, brought in by a task that read nothing
    assert ("artifact:r1/package/1/package", "artifact:r2/live/1/init", "same content") in found.edges
    assert "r2/tune/1/adapter" in found.artifacts
    assert found.executions["r2/tune/1"]["project"] == "r2"


def test_content_that_was_brought_in_is_followed_to_the_run_that_made_it(line, record):
    found = walk(record, "r2/tune/1/adapter", ["up"])
    assert {"r2/live/1/init", "r1/package/1/package", "r1/fetch/1/rows"} <= set(found.artifacts)
    assert "r2/live/1/nothing" not in found.artifacts  # what has no content is not the same as anything


def test_a_digest_or_a_release_starts_from_what_has_it(line, record):
    found = walk(record, digest_json("pack"), ["up"], depth=1)
    assert {"r1/package/1/package", "r2/live/1/init"} <= set(found.artifacts)
    found = walk(record, "reviews@1.0.0")
    assert set(found.releases) == {"reviews@1.0.0"}
    assert {"r1/fetch/1/rows", "r2/tune/1/adapter"} <= set(found.artifacts)
    assert record.ancestry.get(digest_json("pack"))["id"] == "r2/live/1/init"


def test_a_walk_is_bounded_and_says_so(line, record):
    assert set(walk(record, "r1/package/1/package", depth=0).artifacts) == {"r1/package/1/package"}
    found = walk(record, "r1/package/1/package", ["up"], depth=1)
    assert (set(found.artifacts), found.truncated) == (
        {"r1/package/1/package", "r1/loop-1/0/tune/1/adapter"}, True,
    )  # fmt: skip
    found = walk(record, "r1/fetch/1/rows", limit=4)
    assert (found.truncated, len(found.artifacts) <= 4) == (True, True)
    ends = {end for edge in found.edges for end in edge[:2]}
    known = {f"artifact:{id}" for id in found.artifacts} | {f"execution:{id}" for id in found.executions}
    assert ends <= known | {f"release:{name}" for name in found.releases}


def test_a_walk_through_a_circle_ends(line, record):
    with record._store.write() as db:
        for execution, artifact in (
            ("r1/fetch/1", "r1/package/1/package"),
            ("r1/fetch/1", "r1/fetch/1/rows"),
            ("r2/live/1", "r2/tune/1/adapter"),
        ):
            row = {"execution": execution, "direction": "input", "key": artifact, "artifact": artifact}
            db.execute(insert(links).values(**row))
    found = walk(record, "r1/fetch/1/rows", depth=100)
    assert (found.truncated, len(found.artifacts)) == (False, 3)


def test_a_cached_task_reads_and_its_source_made(line, record):
    line.at = 300.0
    line.begin("r3", "tune")
    hit = record.runs.find("key-r1-loop-1/0/tune")
    read = e.Read({}, {"in0": ("r1/fetch/1/rows",)})
    cached = e.TaskCached("tune", hit.outputs, "key", hit.run, hit.task, read=read)
    record.runs.append(line.leases["r3"], [cached], 301.0)
    up = walk(record, "r1/loop-1/0/tune/1/adapter", ["up"], depth=1)
    assert set(up.executions) == {"r1/loop-1/0/tune/1"}
    down = walk(record, "r1/fetch/1/rows", ["down"], depth=1)
    assert down.executions["r3/tune/cached-1"]["state"] == "CACHED"
    assert ("execution:r3/tune/cached-1", "artifact:r1/loop-1/0/tune/1/adapter", "adapter") in down.edges


def test_hundreds_of_readers_are_asked_for_in_few_statements(line, record):
    """A statement has room for so many values and no more."""
    ids = [f"r1/t/{n}/1" for n in range(1200)]
    mine = {"run": "r1", "task": "t", "attempt": 1, "state": "RUNNING"}
    link = {"direction": "input", "key": "x", "artifact": "r1/fetch/1/rows"}
    with record._store.write() as db:
        db.execute(insert(executions), [{"id": id, **mine} for id in ids])
        db.execute(insert(links), [{"execution": id, **link} for id in ids])
    found = walk(record, "r1/fetch/1/rows", ["down"])
    assert len(found.executions) > 1200


def test_lists_are_the_newest_first_and_only_what_fits(line, record):
    ids = [row["id"] for row in record.ancestry.all()]
    assert ids[0] == "r2/tune/1/adapter"
    assert ids[-1] == "r1/fetch/1/rows"
    assert [row["id"] for row in record.ancestry.all(run="r2", limit=2)] == ids[:2]
    assert [row["id"] for row in record.ancestry.all(digest=digest_json("pack"), run="r1")] == [ids[3]]
    assert [row["id"] for row in record.ancestry.all(task="loop-1/0/tune", type="system.Model")] == [
        "r1/loop-1/0/tune/1/metrics", "r1/loop-1/0/tune/1/adapter",
    ]  # fmt: skip
    pages, after = [], None
    while page := [row["id"] for row in record.ancestry.all(limit=2, after=after)]:
        pages, after = pages + page, page[-1]
    assert pages == ids


def test_what_is_not_on_record_is_said_not_to_be(line, record):
    for name in ("r1/fetch/1", "sha256:" + "0" * 64, "nothing"):
        with pytest.raises(NotFoundError, match="There is no artifact"):
            walk(record, name)
    with pytest.raises(NotFoundError, match=r"There is no release reviews@9\.9\.9"):
        walk(record, "reviews@9.9.9")
    with pytest.raises(UserError):
        walk(record, "@1")
    with record._store.read() as db:
        assert db.execute(select(links)).first() is not None


def test_the_provenance_of_a_release_names_what_its_run_got_from_outside_by_digest(line, record, proposal):
    found = provenance(record, "reviews@1.0.0")
    assert [(each["id"], each["digest"]) for each in found["sources"]] == [
        ("r1/fetch/1/rows", digest_json("rows"))
    ]
    assert (found["run"]["id"], found["parameters"], found["verdict"]["passed"]) == (
        "r1",
        {"train_r": 8},
        True,
    )
    # r2's release came from that one: what r1 was given is its source too
    line.task("r2", "package", ["r2/tune/1/adapter"], [("package", "pack 2")])
    second = proposal("b", package_digest=digest_json("pack 2"), run="r2", live_digest="")
    release = record.releases.propose(second, 300.0).release
    ids = [each["id"] for each in provenance(record, release)["sources"]]
    assert ids == ["r1/fetch/1/rows"]


def test_the_provenance_of_what_is_not_here_is_said_to_be_missing(line, record, proposal):
    imported = proposal("c", package_digest=digest_json("c"), run="elsewhere")
    release = record.releases.propose(imported, 300.0).release
    found = provenance(record, release)
    assert (found["run"], found["sources"], found["parameters"]) == (None, [], {"r": 8})
    assert provenance(record, "gone@1.0.0")["missing"] == "There is no model `gone`."
    assert "names no release" in provenance(record, "odd")["missing"]
