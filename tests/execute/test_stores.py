"""Outputs put into real stores and read back by real libraries, over loopback."""

import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fsspec.registry import _registry as loaded

from tuneline.errors import DataError, MissingPartError, NetworkError, NotFoundError, SettingError
from tuneline.execute import downloads, objects
from tuneline.execute.digests import digest_path
from tuneline.execute.files import MISSING
from tuneline.execute.stores import Stores, attempt_uri, check_root
from tuneline.plan.events import ArtifactRef, Outputs
from tuneline.types import Digest, digest_json

pytestmark = pytest.mark.slow


@pytest.fixture(params=["folder", "s3", "minio", "gs"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A root of each kind, empty."""
    if request.param == "folder":
        return str(tmp_path / "artifacts")
    request.getfixturevalue("gcs" if request.param == "gs" else "s3")
    return f"{request.param}://lines/{tmp_path.name}"


@pytest.fixture
def s3_root(s3, tmp_path: Path) -> str:
    """A prefix of its own in the S3 bucket."""
    s3.seen.clear()
    return f"s3://lines/{tmp_path.name}"


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    """Those of this machine."""
    return Stores(tmp_path / "copies")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Stores:
    """Those of another machine, with nothing local yet."""
    return Stores(tmp_path / "other copies")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder such as a model is."""
    folder = tmp_path / "attempt" / "model"
    (folder / "sub folder").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(os.urandom(200_000))
    (folder / "sub folder" / "é #1.json").write_text("{}")
    (folder / "empty").write_bytes(b"")
    return folder


def made(path: Path, uri: str = "") -> ArtifactRef:
    """The reference of what a task left at `path`."""
    digest, size = digest_path(path)
    return ArtifactRef(path.name, "system.Model", uri or str(path), digest, size, {"loss": float("inf")})


def reading(stores: Stores, ref: ArtifactRef) -> Path:
    """The path by which a task reads it."""
    return Path(stores.reading({"x": (ref,)})["x"][0].uri)


def test_a_folder_comes_back_on_another_machine_as_it_was(root, stores, elsewhere, model):
    ref = made(model)
    uri = f"{attempt_uri(check_root(root), 'line', 'r1', 'loop-1/0/train', 2)}/model"
    put = stores.stored(ref, uri, model)
    assert put == replace(ref, uri=f"{root}/line/r1/loop-1/0/train/2/model")
    shutil.rmtree(model)
    assert digest_path(elsewhere.get(put.uri, put.digest)) == (ref.digest, ref.size_bytes)
    assert digest_path(reading(elsewhere, put))[0] == ref.digest
    assert reading(elsewhere, put).name == "model"


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 1000])
def test_a_file_comes_back_with_its_name(root, stores, elsewhere, tmp_path, content):
    (tmp_path / "rows.jsonl").write_bytes(content)
    put = stores.stored(made(tmp_path / "rows.jsonl"), f"{root}/rows.jsonl", tmp_path / "rows.jsonl")
    assert elsewhere.get(put.uri, put.digest).read_bytes() == content
    assert reading(elsewhere, put).name == "rows.jsonl"


def test_an_empty_folder_comes_back_as_one(root, stores, elsewhere, tmp_path):
    (tmp_path / "nothing").mkdir()
    put = stores.stored(made(tmp_path / "nothing"), f"{root}/nothing", tmp_path / "nothing")
    assert list(elsewhere.get(put.uri, put.digest).iterdir()) == []


def test_putting_again_leaves_nothing_of_an_attempt_that_was_interrupted(root, stores, elsewhere, model):
    (model / "half.tmp").write_text("left by a server that was killed")
    stores.put(model, f"{root}/model", digest_path(model)[0])
    (model / "half.tmp").unlink()
    ref = made(model)
    stores.put(model, f"{root}/model", ref.digest)
    assert digest_path(elsewhere.get(f"{root}/model", ref.digest))[0] == ref.digest


def test_what_this_machine_made_is_not_read_back_from_the_bucket(s3, s3_root, stores, model):
    put = stores.stored(made(model), f"{s3_root}/model", model)
    s3.seen.clear()
    assert stores.absent([put]) == []
    assert digest_path(reading(stores, put))[0] == put.digest
    assert s3.seen == []


def test_what_was_read_once_is_not_read_again_unless_somebody_wrote_to_it(
    s3, s3_root, stores, elsewhere, model
):
    put = stores.stored(made(model), f"{s3_root}/model", model)
    assert elsewhere.absent([put]) == [put]
    place = elsewhere.get(put.uri, put.digest)
    s3.seen.clear()
    assert (elsewhere.get(put.uri, put.digest), elsewhere.absent([put]), s3.seen) == (place, [], [])
    (place / "weights.bin").write_bytes(b"trained on")
    assert elsewhere.absent([put]) == [put]
    assert digest_path(elsewhere.get(put.uri, put.digest))[0] == put.digest


def test_two_tasks_that_want_one_artifact_read_it_once(s3, s3_root, stores, elsewhere, model):
    put = stores.stored(made(model), f"{s3_root}/model", model)
    s3.seen.clear()
    threads = [threading.Thread(target=elsewhere.get, args=(put.uri, put.digest)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([line for line in s3.seen if line.startswith("GET") and "weights.bin" in line]) == 1


def test_an_object_that_was_changed_in_the_bucket_is_not_taken_for_what_was_recorded(
    s3_root, stores, elsewhere, tmp_path
):
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    put = stores.stored(made(tmp_path / "one"), f"{s3_root}/one", tmp_path / "one")
    objects.upload([(tmp_path / "two", "")], put.uri)
    with pytest.raises(DataError, match="is not what it was when it was recorded"):
        elsewhere.get(put.uri, put.digest)
    assert elsewhere.absent([put]) == [put]
    objects.remove([""], put.uri)
    with pytest.raises(NotFoundError, match="is not there") as wrong:
        elsewhere.get(put.uri, put.digest)
    assert "Run the task that made it again" in wrong.value.hint


def test_an_artifact_without_a_file_has_its_uri_and_no_object(s3, s3_root, stores):
    ref = ArtifactRef("metrics", "system.Metrics", "/gone/metrics", MISSING, 0, {"accuracy": 0.9})
    put = stores.stored(ref, f"{s3_root}/metrics", Path("/gone/metrics"))
    assert put == replace(ref, uri=f"{s3_root}/metrics")
    assert (stores.absent([put]), reading(stores, put).exists(), s3.seen) == ([], False, [])


def test_what_a_task_itself_put_into_a_bucket_stays_there_and_is_known_by_its_objects(
    s3_root, stores, elsewhere, tmp_path
):
    (tmp_path / "mine").write_text("1")
    ref = ArtifactRef("model", "system.Model", f"{s3_root}/mine", MISSING, 0)
    assert stores.stored(ref, f"{s3_root}/r1/model", tmp_path / "nowhere") == ref  # nothing there yet
    objects.upload([(tmp_path / "mine", "")], ref.uri)
    put = stores.stored(ref, f"{s3_root}/r1/model", tmp_path / "nowhere")
    assert (put.uri, put.size_bytes) == (ref.uri, 1)
    assert put.digest != MISSING
    assert elsewhere.get(put.uri, put.digest).read_text() == "1"
    (tmp_path / "mine").write_text("22")
    objects.upload([(tmp_path / "mine", "")], ref.uri)
    assert stores.stored(ref, "", tmp_path).digest != put.digest


def test_a_uri_of_another_kind_is_a_name_and_nothing_else(stores):
    ref = ArtifactRef("table", "google.BQTable", "bq://project.set.table", MISSING, 0)
    assert stores.stored(ref, "s3://lines/x", Path("/x")) == ref
    assert (stores.reading({"x": (ref,)}), stores.absent([ref])) == ({"x": (ref,)}, [])


def test_a_store_that_is_busy_is_asked_again(s3, s3_root, stores, elsewhere, tmp_path):
    (tmp_path / "x").write_text("x")
    s3.left = 2
    put = stores.stored(made(tmp_path / "x"), f"{s3_root}/x", tmp_path / "x")
    assert s3.left == 0
    s3.left = 1
    assert elsewhere.get(put.uri, put.digest).read_text() == "x"


@pytest.mark.parametrize(
    "uri, kind, words",
    [
        ("s3://no-such-bucket/x", NotFoundError, "could not be written: there is no such bucket"),
        ("gs://no-such-bucket/x", NotFoundError, "could not be written: there is no such bucket"),
    ],
)
def test_a_bucket_that_is_not_there_is_named(s3, gcs, stores, tmp_path, uri, kind, words):
    (tmp_path / "x").write_text("x")
    with pytest.raises(kind, match=words) as wrong:
        stores.stored(made(tmp_path / "x"), uri, tmp_path / "x")
    assert "no-such-bucket" in wrong.value.hint


def test_without_credentials_it_says_how_to_log_in_and_no_secret(s3, tmp_path):
    """A process of its own: the library keeps a session. About a second."""
    done = python(
        "from tuneline.execute import objects; objects.find('s3://lines/x')",
        AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="",
    )  # fmt: skip
    assert "SettingError: s3://lines/x could not be read: the bucket `lines` refuses it" in done.stderr
    assert "s3cret" not in done.stderr


def test_a_store_that_cannot_be_reached_is_a_network_error(s3):
    """As above: the address is the session's."""
    done = python(
        "import s3fs; s3fs.S3FileSystem.retries = 1  # else it takes seven seconds\n"
        "from tuneline.execute import objects; objects.find('s3://lines/x')",
        AWS_ENDPOINT_URL="http://127.0.0.1:1",
    )  # fmt: skip
    assert "NetworkError: s3://lines/x could not be read: Could not connect" in done.stderr


def python(program: str, **env: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", program]
    kept = {name: value for name, value in {**os.environ, **env}.items() if value}
    return subprocess.run(command, capture_output=True, text=True, env=kept, timeout=50, check=False)


@pytest.mark.parametrize(
    "root, words",
    [
        ("artifacts", "cannot be kept at `artifacts`"),
        ("ftp://host/x", "is no kind of bucket"),
        ("s3://key:s3cret@lines/x", "must not hold a password"),
    ],
)
def test_a_root_that_cannot_be_used_is_refused_before_anything_runs(root, words):
    with pytest.raises(SettingError, match=words) as wrong:
        check_root(root)
    assert "s3cret" not in wrong.value.message + wrong.value.hint


def test_a_root_is_used_as_a_plain_path_or_without_its_last_slash(tmp_path, s3):
    assert check_root(f"file://{tmp_path}/") == str(tmp_path)
    assert check_root("s3://lines/prefix/") == "s3://lines/prefix"


@pytest.mark.parametrize("library", ["fsspec", "s3fs"])
def test_without_the_library_the_extra_that_brings_it_is_named(library, monkeypatch):
    monkeypatch.delitem(loaded, "s3", raising=False)  # loaded by an earlier test
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingPartError) as wrong:
        check_root("s3a://lines/x")
    assert wrong.value.hint == "Install it with: pip install 'tuneline[s3]'"


def test_an_object_whose_name_would_leave_its_folder_is_refused(s3, s3_root, tmp_path):
    found = objects.Found("../../evil", 1, "t")
    with pytest.raises(DataError, match="which is no path of a file"):
        objects.download([found], s3_root, tmp_path / "here")


def test_outputs_of_an_attempt_keep_their_names_under_its_uri(s3, s3_root, stores, tmp_path):
    folder = tmp_path / "1"
    (folder / "outputs").mkdir(parents=True)
    refs = []
    for name in ("shards", "shards-2", "elsewhere"):
        path = folder / "outputs" / name if name != "elsewhere" else tmp_path / name
        path.write_text(name)
        refs.append(made(path))
    custom = replace(made(tmp_path / "elsewhere", "/gone"), custom_path=str(tmp_path / "elsewhere"))
    put = stores.outputs(Outputs({"n": 1}, {"shards": tuple(refs), "model": (custom,)}), s3_root, folder)
    assert [ref.uri.removeprefix(s3_root) for ref in put.artifacts["shards"]] == [
        "/shards", "/shards-2", "/shards/2",
    ]  # fmt: skip
    assert (put.artifacts["model"][0].uri, put.artifacts["model"][0].custom_path) == (f"{s3_root}/model", "")
    assert stores.local(put.artifacts["model"][0]).read_text() == "elsewhere"
    assert Stores(tmp_path / "other").local(put.artifacts["model"][0]) is None
    assert stores.local(custom) == tmp_path / "elsewhere"
    assert put.parameters == {"n": 1}


def test_an_imported_bucket_of_another_kind_is_a_name_and_asked_for_nothing(s3, s3_root, stores):
    uri = "gs://somebody/else.txt"
    ref = ArtifactRef("x", "system.Dataset", uri, digest_json({"uri": uri}), 0)
    assert stores.stored(ref, f"{s3_root}/x", Path(uri)) == ref
    assert (stores.reading({"x": (ref,)})["x"][0].uri, stores.absent([ref]), stores.local(ref)) == (
        uri,
        [],
        None,
    )


# Inputs, brought by the shim before the task


def test_the_shim_brings_inputs_before_the_task_starts(s3, s3_root, stores, tmp_path, model):
    """Two real processes, about two seconds: the library's imports."""
    put = stores.stored(made(model), f"{s3_root}/model", model)
    folder, copies = tmp_path / "r1", tmp_path / "fresh"
    folder.mkdir()
    (command,) = downloads.before(folder, copies, [put])
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stdout) == (0, f"Reading {put.uri} ({put.size_bytes} bytes).\n")
    assert Stores(copies).absent([put]) == []
    assert downloads.before(folder, copies, []) == []


def test_an_input_that_is_gone_fails_the_attempt_with_the_reason(s3_root, tmp_path, capsys):
    gone = ArtifactRef("x", "system.Model", f"{s3_root}/gone", Digest("sha256:" + "1" * 64), 5)
    downloads.before(tmp_path, tmp_path / "copies", [gone])
    assert downloads.main(str(tmp_path)) == 1
    left = json.loads((tmp_path / "error.json").read_text())
    assert (left["code"], left["message"]) == ("not_found", f"{s3_root}/gone is not there.")
    assert f"{s3_root}/gone is not there" in capsys.readouterr().err


# What importers read


def test_fetch_reads_a_bucket_once_and_again_when_it_changed(s3, s3_root, stores, model):
    objects.upload([(model / "weights.bin", "weights.bin"), (model / "empty", "sub/empty")], f"{s3_root}/in")
    first = stores.fetch(f"{s3_root}/in")
    assert (first.path.name, first.digest, first.size_bytes) == ("in", *digest_path(first.path))
    s3.seen.clear()
    assert stores.fetch(f"{s3_root}/in") == first
    assert [line for line in s3.seen if "weights" in line] == []
    objects.upload([(model / "empty", "weights.bin")], f"{s3_root}/in")
    second = stores.fetch(f"{s3_root}/in")
    assert (second.size_bytes, second.digest == first.digest) == (0, False)
    with pytest.raises(NotFoundError, match="is not there"):
        stores.fetch(f"{s3_root}/nothing")


def test_fetch_of_a_local_path_copies_nothing(stores, model):
    assert stores.fetch(str(model)).path == model
    assert stores.fetch(f"file://{model}").digest == digest_path(model)[0]
    with pytest.raises(DataError, match="is not there"):
        stores.fetch("/no/such/file")
    for uri in ("relative/path", "bq://project.set.table"):
        with pytest.raises(SettingError, match="cannot be read"):
            stores.fetch(uri)


def test_fetch_over_https_asks_whether_it_changed_and_takes_no_half_file(stores, web):
    web.body, web.etag = b"0123456789", '"1"'
    first = stores.fetch(f"{web.url}/data/rows.csv?version=2")
    assert (first.path.name, first.path.read_bytes()) == ("rows.csv", b"0123456789")
    web.asked.clear()
    assert stores.fetch(f"{web.url}/data/rows.csv?version=2") == first
    assert web.asked == [('"1"', 304)]
    web.body, web.etag = b"new", '"2"'
    assert stores.fetch(f"{web.url}/data/rows.csv?version=2").path.read_bytes() == b"new"
    web.cut = 3
    with pytest.raises(NetworkError, match="could not be read"):
        stores.fetch(f"{web.url}/cut")
    web.status = 404
    with pytest.raises(NotFoundError, match=r"is not there \(404\)"):
        stores.fetch(f"{web.url}/gone")
    web.status = 403
    with pytest.raises(SettingError, match=r"may not be read \(403\)"):
        stores.fetch(f"{web.url}/mine")
    with pytest.raises(SettingError, match="must not hold a password") as wrong:
        stores.fetch("https://ann:s3cret@host/x")
    assert "s3cret" not in wrong.value.message


@pytest.fixture
def web():
    """An HTTP server that does what the test tells it to."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            same = self.headers.get("If-None-Match") == self.server.etag and self.server.etag
            status = self.server.status or (304 if same else 200)
            self.server.asked.append((self.headers.get("If-None-Match"), status))
            self.send_response(status)
            self.send_header("ETag", self.server.etag)
            body = self.server.body if status == 200 else b""
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) - self.server.cut])

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    server.asked, server.status, server.cut, server.etag, server.body = [], 0, 0, "", b""
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
