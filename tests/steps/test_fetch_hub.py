"""`hf://` against a server that speaks the hub's protocol, asked by the real `huggingface_hub`."""

import hashlib
import json

import pytest
from tests.steps.hub_server import HubServer

from tuneline.errors import DataError, NetworkError, SettingError
from tuneline.steps.fetch import fetch

pytestmark = pytest.mark.slow  # real sockets, and a library that takes a second to import

ROWS = b"text,label\n" + b"".join(f"row {number},{number % 2}\n".encode() for number in range(20_000))
MORE = ROWS + b"more,1\n"
NAME = "datasets/ann/reviews"
ADDRESS = f"hf://{NAME}/data/rows.csv"


@pytest.fixture
def hub(server, monkeypatch, tmp_path):
    """An empty hub, where the library finds it; nobody is logged in."""
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "0")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    return HubServer(server)


@pytest.fixture
def at_hub(hub, desk):
    """Makes desks that know the hub's address."""
    return lambda **more: desk(env={"HF_ENDPOINT": hub.files.url}, **more)


def content(folder):
    return {path.name: path.read_bytes() for path in (folder / "files").iterdir()}


@pytest.mark.parametrize("lfs", [True, False])
def test_a_file_is_fetched_and_its_commit_is_on_record(hub, at_hub, tmp_path, lfs):
    commit = hub.commit(NAME, {"data/rows.csv": ROWS, "README.md": b"#"}, lfs=lfs)
    found = fetch(ADDRESS, at_hub(), tmp_path / "data")
    assert content(tmp_path / "data") == {"rows.csv": ROWS}
    assert found.pinned == {"commit": commit}
    assert json.loads((tmp_path / "data/source.json").read_text()) == {
        "source": ADDRESS,
        "files": [
            {"path": "files/rows.csv", "sha256": hashlib.sha256(ROWS).hexdigest(), "size_bytes": len(ROWS)}
        ],
        "resolved": {"repository": NAME, "path": "data/rows.csv"},
    }


def test_a_commit_that_left_the_file_alone_brings_nothing_and_changes_no_byte(hub, at_hub, tmp_path, notes):
    hub.commit(NAME, {"data/rows.csv": ROWS})
    fetch(ADDRESS, at_hub(), tmp_path / "one")
    second = hub.commit(NAME, {"data/rows.csv": ROWS, "README.md": b"# more"})
    hub.files.requests.clear()
    assert fetch(ADDRESS, at_hub(), tmp_path / "two").pinned == {"commit": second}
    assert [path for path, _ in hub.files.requests] == ["/api/datasets/ann/reviews?blobs=true"]
    assert (tmp_path / "one/source.json").read_bytes() == (tmp_path / "two/source.json").read_bytes()
    assert not notes


def test_a_changed_file_is_fetched_anew_and_said_to_be(hub, at_hub, tmp_path, notes):
    hub.commit(NAME, {"data/rows.csv": ROWS})
    fetch(ADDRESS, at_hub(), tmp_path / "one")
    hub.commit(NAME, {"data/rows.csv": MORE})
    fetch(ADDRESS, at_hub(), tmp_path / "two")
    assert content(tmp_path / "two") == {"rows.csv": MORE}
    assert any("changed since the last run" in note for note in notes)


def test_an_older_commit_stays_what_it_was(hub, at_hub, tmp_path):
    first = hub.commit(NAME, {"data/rows.csv": ROWS})
    hub.commit(NAME, {"data/rows.csv": MORE})
    fetch(f"hf://{NAME}@{first}/data/rows.csv", at_hub(), tmp_path / "data")
    assert content(tmp_path / "data") == {"rows.csv": ROWS}


def test_a_folder_or_a_glob_is_all_its_files_of_rows(hub, at_hub, tmp_path):
    hub.commit(NAME, {"data/a.csv": ROWS, "data/b.csv": MORE, "data/c.txt": b"", "d.csv": b"x"})
    fetch(f"hf://{NAME}/data", at_hub(), tmp_path / "folder")
    assert content(tmp_path / "folder") == {"a.csv": ROWS, "b.csv": MORE}
    fetch(f"hf://{NAME}/data/a*.csv", at_hub(), tmp_path / "glob")
    assert content(tmp_path / "glob") == {"a.csv": ROWS}
    with pytest.raises(DataError, match="means 2 files"):
        fetch(f"hf://{NAME}/data", at_hub(sha256="0" * 64), tmp_path / "none")


def test_a_cut_download_goes_on_where_it_stopped(hub, at_hub, tmp_path):
    hub.commit(NAME, {"data/rows.csv": ROWS})
    hub.cdn(ROWS).faults = ["cut:100000", "cut:50000"]
    fetch(ADDRESS, at_hub(), tmp_path / "data")
    assert content(tmp_path / "data") == {"rows.csv": ROWS}
    asked = [headers for path, headers in hub.files.requests if path.startswith("/cdn")]
    assert [int("range" in headers) for headers in asked] == [0, 1, 1]


def test_a_file_that_changes_while_it_is_fetched_is_never_glued_together(hub, at_hub, tmp_path):
    hub.commit(NAME, {"data/rows.csv": ROWS})
    hub.cdn(ROWS).faults = ["cut:100000"] + ["cut:0"] * 20
    with pytest.raises(NetworkError, match="the connection was cut"):
        fetch(ADDRESS, at_hub(), tmp_path / "data")
    other = ROWS.replace(b"row", b"new")
    hub.commit(NAME, {"data/rows.csv": other})
    fetch(ADDRESS, at_hub(), tmp_path / "data")
    assert content(tmp_path / "data") == {"rows.csv": other}


def test_bytes_that_are_not_the_hubs_are_refused(hub, at_hub, tmp_path):
    hub.commit(NAME, {"data/rows.csv": ROWS})
    hub.cdn(ROWS).body = MORE
    with pytest.raises(DataError, match="is not the file it should be"):
        fetch(ADDRESS, at_hub(), tmp_path / "data")


def test_429_and_500_of_the_api_and_of_a_file_are_waited_out(hub, at_hub, tmp_path, notes):
    hub.commit(NAME, {"data/rows.csv": ROWS})
    hub.api(NAME).faults = ["429:7", "500"]
    hub.cdn(ROWS).faults = ["503", "429:3"]
    fetch(ADDRESS, at_hub(), tmp_path / "data")
    assert content(tmp_path / "data") == {"rows.csv": ROWS}
    assert notes.slept == [7.0, 1.0, 0.5, 3.0]


def test_a_hub_that_only_fails_is_one_clear_error(hub, at_hub, tmp_path):
    hub.commit(NAME, {"data/rows.csv": ROWS})
    hub.api(NAME).faults = ["500"] * 20
    with pytest.raises(NetworkError, match="could not be downloaded: the server answered 500") as caught:
        fetch(ADDRESS, at_hub(), tmp_path / "data")
    assert caught.value.retry


@pytest.mark.parametrize("gone", ["offline", "no hub", "hub fails"])
def test_without_the_hub_the_copy_is_used_and_said_to_be(hub, at_hub, desk, tmp_path, notes, gone):
    hub.commit(NAME, {"data/rows.csv": ROWS})
    fetch(ADDRESS, at_hub(), tmp_path / "one")
    if gone == "offline":
        used = at_hub(offline=True)
    elif gone == "no hub":
        used = desk(env={"HF_ENDPOINT": "http://127.0.0.1:9"})
    else:
        hub.api(NAME).faults = ["500"] * 20
        used = at_hub()
    fetch(ADDRESS, used, tmp_path / "two")
    assert content(tmp_path / "two") == {"rows.csv": ROWS}
    assert any("Used the copy of" in note for note in notes)


def test_a_pinned_digest_needs_no_hub_and_without_a_copy_one_error_says_what_to_do(hub, at_hub, tmp_path):
    hub.commit(NAME, {"data/rows.csv": ROWS})
    digest = hashlib.sha256(ROWS).hexdigest()
    with pytest.raises(NetworkError, match="offline") as caught:
        fetch(ADDRESS, at_hub(offline=True, sha256=digest), tmp_path / "data")
    assert not caught.value.retry
    fetch(ADDRESS, at_hub(sha256=digest), tmp_path / "data")
    hub.files.requests.clear()
    fetch(ADDRESS, at_hub(sha256=digest), tmp_path / "again")
    assert not hub.files.requests
    fetch(ADDRESS, at_hub(sha256=digest, offline=True), tmp_path / "offline")
    assert content(tmp_path / "offline") == {"rows.csv": ROWS}


def test_a_token_reaches_the_hub_and_nothing_else(hub, at_hub, tmp_path, notes, monkeypatch):
    hub.token = "hf_secret"
    hub.commit(NAME, {"data/rows.csv": ROWS}, lfs=False)
    with pytest.raises(SettingError, match="the hub answered 401") as caught:
        fetch(ADDRESS, at_hub(), tmp_path / "data")
    assert "HF_TOKEN" in caught.value.hint
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    found = fetch(ADDRESS, at_hub(), tmp_path / "data")
    told = [str(found), *notes, *(path.read_text() for path in (tmp_path / "downloads/pins").iterdir())]
    assert not any("hf_secret" in text for text in told)


@pytest.mark.parametrize(
    "status, code, said",
    [
        (403, "GatedRepo", "accepted its terms"),
        (404, "RepoNotFound", "is not there, or is private"),
        (403, "", "the hub answered 403"),
    ],
)
def test_what_the_hub_does_not_give_is_said_with_what_to_do(hub, at_hub, tmp_path, status, code, said):
    hub.refuse(NAME, status, code, "no")
    with pytest.raises(SettingError, match=said) as caught:
        fetch(ADDRESS, at_hub(), tmp_path / "data")
    assert f"{hub.files.url}/{NAME}" in caught.value.hint
    assert len(hub.files.requests) == 1


def test_a_missing_file_names_those_that_are_there(hub, at_hub, tmp_path):
    hub.commit(NAME, {"data/rows.csv": ROWS})
    with pytest.raises(DataError, match="There is no file `data/row.csv`") as caught:
        fetch(f"hf://{NAME}/data/row.csv", at_hub(), tmp_path / "data")
    assert "data/rows.csv" in caught.value.hint
