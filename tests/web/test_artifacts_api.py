"""Artifacts over the real wire: lists, one, lineage, content; metrics with all they carry, on both
databases."""

import io
import json
import tarfile
import time

import httpx
import pytest
from fastapi.testclient import TestClient

from tuneline.actions import Platform
from tuneline.actions.ports import Server
from tuneline.errors import NotFoundError, UserError
from tuneline.execute.digests import digest_path
from tuneline.execute.files import MISSING
from tuneline.plan.events import ArtifactRef, AttemptStarted, Child, Outputs, TaskSucceeded
from tuneline.record.record import Record
from tuneline.record.runs import NewRun
from tuneline.types import RunId
from tuneline.web import create_app

INFINITE, NONE = float("inf"), float("nan")


@pytest.fixture
def made(client, runner, ir, tmp_path):
    """A run whose task put out a folder, a file with a nasty name, and one artifact without content."""
    run = client.submit(ir, {}, {"name": "greet", "text": "", "path": "", "digest": ""})["id"]
    folder = tmp_path / "out" / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(b"\0\1" * 70_000)
    (folder / "sub" / "é 1.json").write_text("{}")
    (tmp_path / "out" / "page.html").write_text("<script>alert(1)</script>")
    paths = {"model": folder, "lineage": tmp_path / "out" / "page.html", "gone": tmp_path / "gone"}
    refs = {}
    for key, path in paths.items():
        digest, size = digest_path(path) if path.exists() else (MISSING, 0)
        id = f"{run}/hello/1/{key}"
        refs[key] = (ArtifactRef(key, "system.Model", str(path), digest, size, {"loss": INFINITE}, id),)
    runner.record.runs.append(
        runner.leases[run],
        [AttemptStarted("hello", 1, 1, 1.0, "/f", "k"), TaskSucceeded("hello", 1, Outputs({}, refs), "k")],
        time.time(),
    )
    return run


def test_artifacts_are_listed_and_shown_by_id_or_digest(client, made):
    found = client.artifacts(run=made)
    assert [row["name"] for row in found] == ["model", "lineage", "gone"]
    one = client.artifact(f"{made}/hello/1/model")
    assert one == found[0]
    assert one["metadata"] == {"loss": "Infinity"}
    assert one["created_at"].endswith("Z")
    assert client.artifact(one["digest"])["id"] == one["id"]
    assert [row["id"] for row in client.artifacts(1, run=made, after=found[0]["id"])] == [found[1]["id"]]
    with pytest.raises(NotFoundError, match="There is no artifact `r0/x/1/y`"):
        client.artifact("r0/x/1/y")


def test_lineage_says_where_it_begins_and_what_is_there(client, made):
    id = f"{made}/hello/1/model"
    found = client.lineage(id, "up", 3)
    assert (found["roots"], found["direction"], found["depth"], found["truncated"]) == (
        [f"artifact:{id}"], "up", 3, False,
    )  # fmt: skip
    assert found["edges"] == [{"from": f"execution:{made}/hello/1", "to": f"artifact:{id}", "key": "model"}]
    (execution,) = found["executions"]
    assert (execution["task"], execution["project"], execution["state"]) == ("hello", "greet", "SUCCEEDED")
    with pytest.raises(UserError, match="`sideways` is no direction"):
        client.lineage(id, "sideways")
    with pytest.raises(NotFoundError, match=r"There is no release greet@1\.0\.0"):
        client.lineage("greet@1.0.0")
    with pytest.raises(UserError, match="depth"):
        client.lineage(id, depth=-1)


def test_an_output_that_is_called_as_a_route_is_found(client, url, made):
    """The path of artifact `.../lineage` is also that of the lineage of `...`."""
    assert client.artifact(f"{made}/hello/1/lineage")["name"] == "lineage"
    assert client.lineage(f"{made}/hello/1/lineage")["roots"] == [f"artifact:{made}/hello/1/lineage"]


def test_a_folder_comes_as_an_archive_and_a_file_as_it_is(client, made, tmp_path):
    got = io.BytesIO()
    assert client.content(f"{made}/hello/1/model", got.write) == "folder"
    got.seek(0)
    with tarfile.open(fileobj=got) as tar:
        tar.extractall(tmp_path / "here", filter="data")
    assert digest_path(tmp_path / "here")[0] == client.artifact(f"{made}/hello/1/model")["digest"]
    got = io.BytesIO()
    assert client.content(f"{made}/hello/1/lineage", got.write) == "file"
    assert got.getvalue() == b"<script>alert(1)</script>"
    with pytest.raises(NotFoundError, match="has no content here") as wrong:
        client.content(f"{made}/hello/1/gone", got.write)
    assert "metadata alone" in wrong.value.hint


def test_content_is_never_a_page_of_this_server(url, made):
    with httpx.Client(trust_env=False) as http:
        answer = http.get(f"{url}/api/v1/artifacts/{made}/hello/1/lineage/content")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_content_in_a_bucket_is_read_from_there(client, runner, platform, made, s3, tmp_path):
    """As another machine wrote it: this home has no copy."""
    row = client.artifact(f"{made}/hello/1/model")
    local = tmp_path / "out" / "model"
    elsewhere = type(platform.artifacts._stores)(tmp_path / "another machine's")
    id = f"{made}/hello/1/remote"
    ref = ArtifactRef("remote", "system.Model", str(local), row["digest"], row["size_bytes"], {}, id)
    put = elsewhere.stored(ref, f"s3://lines/{tmp_path.name}/remote", local)
    done = TaskSucceeded("hello", 1, Outputs({}, {"remote": (put,)}), "k")
    runner.record.runs.append(runner.leases[made], [done], time.time())
    assert client.artifact(id)["uri"] == f"s3://lines/{tmp_path.name}/remote"
    got = io.BytesIO()
    assert client.content(id, got.write) == "folder"
    assert len(got.getvalue()) > 140_000


# Metrics


METRICS = {
    "scalar": (
        "system.Metrics",
        {"accuracy": 0.93, "loss": INFINITE, "gain": -INFINITE, "none": NONE, "n": 3},
    ),
    "roc": (
        "system.ClassificationMetrics",
        {
            "confidenceMetrics": [
                {"confidenceThreshold": INFINITE, "recall": 0.0, "falsePositiveRate": 0.0},
                {"confidenceThreshold": 0.5, "recall": 1.0, "falsePositiveRate": 0.25},
            ],
            "confusionMatrix": {
                "annotationSpecs": [{"displayName": "é"}, {"displayName": "b"}],
                "rows": [{"row": [5, 1]}, {"row": [0, 2**53 + 1]}],
            },
        },
    ),
    "sliced": (
        "system.SlicedClassificationMetrics",
        {
            "evaluationSlices": [
                {
                    "slice": "en",
                    "sliceClassificationMetrics": {"confidenceMetrics": [{"confidenceThreshold": INFINITE}]},
                }
            ]
        },
    ),
    "page": ("system.HTML", {}),
    "text": ("system.Markdown", {"display_name": "report"}),
}


def said(value):
    """What strict readers get for it."""
    if isinstance(value, float) and value in (INFINITE, -INFINITE):
        return "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, float) and value != value:
        return "NaN"
    if isinstance(value, dict):
        return {key: said(item) for key, item in value.items()}
    return [said(item) for item in value] if isinstance(value, list) else value


def test_metrics_keep_all_they_carry_in_the_record_and_over_the_api(database_url, runner, ir, tmp_path):
    record = Record(database_url)
    record.migrate()
    tasks = (Child("hello", "task", "hello"),)
    record.runs.create(NewRun(RunId("m"), "m", "m", ir, {}, tasks=tasks), 1.0)
    refs = {}
    for key, (kind, metadata) in METRICS.items():
        (tmp_path / key).write_text(f"<h1>{key} é</h1>")
        digest, size = digest_path(tmp_path / key)
        id = f"m/hello/1/{key}"
        refs[key] = (ArtifactRef(key, kind, str(tmp_path / key), digest, size, metadata, id),)
    done = [AttemptStarted("hello", 1, 1, 1.0, "/f", "k"), TaskSucceeded("hello", 1, Outputs({}, refs), "k")]
    record.runs.append(record.runs.lease(RunId("m")), done, 2.0)

    hit = record.runs.find("k")
    assert hit is not None
    kept = {key: listed[0].metadata for key, listed in hit.outputs.artifacts.items()}
    assert repr(kept) == repr({key: metadata for key, (_, metadata) in METRICS.items()})
    events = list(record.runs.events(RunId("m")))
    assert repr(events[-1].event.outputs.artifacts) == repr(refs)

    platform = Platform(record, runner, Server("127.0.0.1", 0, 1, tmp_path, "0", 1.0, "ann"), print)
    with TestClient(create_app(platform), base_url="http://127.0.0.1") as http:
        run = strict(http.get("/api/v1/runs/m").text)
        outputs = run["tasks"][0]["outputs"]["artifacts"]
        for key, (kind, metadata) in METRICS.items():
            one = strict(http.get(f"/api/v1/artifacts/m/hello/1/{key}").text)
            assert (one["type"], one["metadata"]) == (kind, said(metadata))
            assert outputs[key][0]["metadata"] == said(metadata)
        page = http.get("/api/v1/artifacts/m/hello/1/page/content")
    assert page.text == "<h1>page é</h1>"
    record.close()


def strict(text):
    """JSON as the standard has it."""

    def refuse(word):
        raise ValueError(word)

    return json.loads(text, parse_constant=refuse)
