"""`kaggle://` against a server that speaks Kaggle's protocol, asked by the real `kagglehub`."""

import hashlib
import json

import pytest
from tests.steps.kaggle_server import SERVICE, KaggleServer

from tuneline.errors import DataError, NetworkError, SettingError
from tuneline.steps.fetch import fetch

pytestmark = pytest.mark.slow  # real sockets, and a library that takes 0.3 s to make a client

HEAD = (
    b"rotten_tomatoes_link,critic_name,top_critic,publisher_name,review_type,review_score,review_date,"
    b"review_content\n"
)
ROWS = HEAD + b"".join(
    f'm/{number},Ann,False,News,{kind},3/5,2020-01-01,"row {number}, it is"\n'.encode()
    for kind in ("Fresh", "Rotten")
    for number in range(5_000)
)
MORE = ROWS + b"m/x,Bob,True,News,Fresh,4/5,2020-01-02,more\n"
HANDLE = "stefanoleone992/rotten-tomatoes-movies-and-critic-reviews-dataset"
FILE = "rotten_tomatoes_critic_reviews.csv"
ADDRESS = f"kaggle://{HANDLE}/{FILE}"


@pytest.fixture
def kaggle(server, monkeypatch, tmp_path):
    """Kaggle, where its library finds it; nobody is logged in."""
    from kagglesdk import kaggle_env  # noqa: PLC0415 - half a second

    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, server.url)
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "nobody"))
    return KaggleServer(server)


def content(folder):
    return {path.name: path.read_bytes() for path in (folder / "files").iterdir()}


def asked(kaggle):
    return [path.removeprefix(SERVICE) for path, _ in kaggle.files.requests]


def test_a_file_is_fetched_and_its_version_is_on_record(kaggle, desk, tmp_path):
    kaggle.publish(HANDLE, {FILE: ROWS, "a.csv": b"x", "b.csv": b"y"})
    found = fetch(ADDRESS, desk(), tmp_path / "data")
    assert content(tmp_path / "data") == {FILE: ROWS}
    assert found.pinned == {"version": 1}
    assert json.loads((tmp_path / "data/source.json").read_text())["resolved"] == {
        "dataset": HANDLE,
        "path": FILE,
    }


def test_what_kaggle_keeps_zipped_is_unpacked(kaggle, desk, tmp_path):
    kaggle.zipped = True
    kaggle.publish(HANDLE, {FILE: ROWS})
    fetch(ADDRESS, desk(), tmp_path / "data")
    assert content(tmp_path / "data") == {FILE: ROWS}
    assert not list((tmp_path / "downloads").rglob("*.download"))


def test_again_only_asks_for_the_newest_version(kaggle, desk, tmp_path):
    kaggle.publish(HANDLE, {FILE: ROWS})
    fetch(ADDRESS, desk(), tmp_path / "one")
    kaggle.files.requests.clear()
    fetch(ADDRESS, desk(), tmp_path / "two")
    assert asked(kaggle) == ["/GetDataset", "/ListDatasetFiles"]
    assert content(tmp_path / "two") == {FILE: ROWS}


def test_a_newer_version_is_fetched_and_an_older_one_can_be_named(kaggle, desk, tmp_path, notes):
    kaggle.publish(HANDLE, {FILE: ROWS})
    fetch(ADDRESS, desk(), tmp_path / "one")
    kaggle.publish(HANDLE, {FILE: MORE})
    assert fetch(ADDRESS, desk(), tmp_path / "two").pinned == {"version": 2}
    assert content(tmp_path / "two") == {FILE: MORE}
    assert any("changed since the last run" in note for note in notes)
    fetch(f"kaggle://{HANDLE}/versions/1/{FILE}", desk(), tmp_path / "first")
    assert content(tmp_path / "first") == {FILE: ROWS}


def test_a_whole_dataset_is_all_its_files_of_rows(kaggle, desk, tmp_path):
    """The listing comes in pages."""
    kaggle.publish(HANDLE, {"a.csv": ROWS, "b.csv": MORE, "c.csv": HEAD, "d.txt": b"no"})
    fetch(f"kaggle://{HANDLE}", desk(), tmp_path / "data")
    assert content(tmp_path / "data") == {"a.csv": ROWS, "b.csv": MORE, "c.csv": HEAD}


def test_a_cut_download_goes_on_where_it_stopped_in_the_next_run_too(kaggle, desk, tmp_path):
    kaggle.publish(HANDLE, {FILE: ROWS})
    fetch(ADDRESS, desk(), tmp_path / "data")  # so that the object is there to be spoilt
    for path in (tmp_path / "downloads/pins").iterdir():
        path.unlink()
    # the library asks first, and is led to the object that we then bring
    kaggle.stored(ROWS).faults = ["", "cut:100000"] + ["cut:0"] * 20
    with pytest.raises(NetworkError, match="the connection was cut") as caught:
        fetch(ADDRESS, desk(), tmp_path / "data")
    assert "s3cret" not in str(caught.value.to_json())
    kaggle.stored(ROWS).faults = []
    kaggle.files.requests.clear()
    fetch(ADDRESS, desk(), tmp_path / "data")
    assert content(tmp_path / "data") == {FILE: ROWS}
    assert "range" in kaggle.files.requests[-1][1]


def test_a_file_that_changes_while_it_is_fetched_is_never_glued_together(kaggle, desk, tmp_path):
    kaggle.publish(HANDLE, {FILE: ROWS})
    fetch(ADDRESS, desk(), tmp_path / "data")
    for path in (tmp_path / "downloads/pins").iterdir():
        path.unlink()
    kaggle.stored(ROWS).faults = ["", "cut:100000"] + ["cut:0"] * 20
    with pytest.raises(NetworkError):
        fetch(ADDRESS, desk(), tmp_path / "data")
    other = ROWS.replace(b"row", b"new")
    kaggle.publish(HANDLE, {FILE: other})
    fetch(ADDRESS, desk(), tmp_path / "data")
    assert content(tmp_path / "data") == {FILE: other}


def test_bytes_that_are_not_kaggles_are_refused(kaggle, desk, tmp_path):
    kaggle.publish(HANDLE, {FILE: ROWS})
    fetch(ADDRESS, desk(), tmp_path / "data")
    kaggle.publish(HANDLE, {FILE: ROWS})
    kaggle.stored(ROWS).body = MORE
    kaggle.stored(ROWS).etag = '"other"'
    with pytest.raises(DataError, match="its MD5 is"):
        fetch(ADDRESS, desk(), tmp_path / "data")


def test_429_and_500_are_waited_out(kaggle, desk, tmp_path, notes):
    kaggle.publish(HANDLE, {FILE: ROWS})
    kaggle.faults = ["429:7", "500", "503", "", "502"]
    fetch(ADDRESS, desk(), tmp_path / "data")
    assert content(tmp_path / "data") == {FILE: ROWS}
    assert notes.slept == [7.0, 1.0, 2.0, 0.5]


def test_without_kaggle_the_copy_is_used_and_said_to_be(kaggle, desk, tmp_path, notes):
    kaggle.publish(HANDLE, {FILE: ROWS})
    digest = hashlib.sha256(ROWS).hexdigest()
    with pytest.raises(NetworkError, match="offline"):
        fetch(ADDRESS, desk(offline=True), tmp_path / "none")
    fetch(ADDRESS, desk(sha256=digest), tmp_path / "one")
    kaggle.faults = ["500"] * 20
    fetch(ADDRESS, desk(), tmp_path / "two")
    assert any("Used the copy of" in note and "answered 500" in note for note in notes)
    kaggle.files.requests.clear()
    fetch(ADDRESS, desk(sha256=digest), tmp_path / "three")
    fetch(ADDRESS, desk(offline=True), tmp_path / "four")
    assert not kaggle.files.requests
    assert content(tmp_path / "four") == {FILE: ROWS}


@pytest.mark.parametrize("way", ["token", "key", "file"])
def test_a_login_reaches_kaggle_and_nothing_else(kaggle, desk, tmp_path, notes, monkeypatch, way):
    basic = "Basic YW5uOnMzY3JldA=="  # ann:s3cret
    kaggle.authorization = "Bearer s3cret" if way == "token" else basic
    kaggle.publish(HANDLE, {FILE: ROWS})
    with pytest.raises(SettingError, match="it answered 401") as caught:
        fetch(ADDRESS, desk(), tmp_path / "data")
    assert "KAGGLE_API_TOKEN" in caught.value.hint
    if way == "file":
        (tmp_path / "nobody").mkdir()
        (tmp_path / "nobody/kaggle.json").write_text('{"username": "ann", "key": "s3cret"}')
    given = {
        "token": {"KAGGLE_API_TOKEN": "s3cret"},
        "key": {"KAGGLE_USERNAME": "ann", "KAGGLE_KEY": "s3cret"},
    }
    for name, value in given.get(way, {}).items():
        monkeypatch.setenv(name, value)
    found = fetch(ADDRESS, desk(), tmp_path / "data")
    told = [str(found), *notes, *(path.read_text() for path in (tmp_path / "downloads/pins").iterdir())]
    assert not any("s3cret" in text for text in told)
    store = [headers for path, headers in kaggle.files.requests if path.startswith("/store")]
    assert all("authorization" not in headers for headers in store[1:])  # requests itself asks this host once


def test_what_is_not_there_is_said_with_what_is(kaggle, desk, tmp_path):
    kaggle.publish(HANDLE, {FILE: ROWS})
    with pytest.raises(DataError, match="There is no file `reviews.csv` in version 1 of") as caught:
        fetch(f"kaggle://{HANDLE}/reviews.csv", desk(), tmp_path / "data")
    assert FILE in caught.value.hint
    with pytest.raises(DataError, match="Kaggle has no dataset ann/none") as caught:
        fetch("kaggle://ann/none/a.csv", desk(), tmp_path / "data")
    assert "kaggle.com/datasets/ann/none" in caught.value.hint
