"""One file over HTTP, from a real server: whole or not at all, whatever happens on the way."""

import hashlib
import json

import pytest
from tests.steps.download_server import serving

from tuneline.errors import DataError, NetworkError
from tuneline.steps.fetch import fetch

ROWS = b"text,label\n" + b"".join(f"row {number},{number % 2}\n".encode() for number in range(20_000))


def sha(body):
    return hashlib.sha256(body).hexdigest()


def content(folder):
    (path,) = (folder / "files").iterdir()
    return path.read_bytes()


def test_a_file_is_fetched_and_pinned_by_its_digest(server, desk, tmp_path):
    url = server.put("/data/rows.csv", ROWS)
    fetch(url, desk(), tmp_path / "data")
    assert content(tmp_path / "data") == ROWS
    assert json.loads((tmp_path / "data/source.json").read_text()) == {
        "source": url,
        "files": [{"path": "files/rows.csv", "sha256": sha(ROWS), "size_bytes": len(ROWS)}],
        "resolved": {"url": url},
    }


def test_again_only_asks_whether_it_changed(server, desk, tmp_path):
    url = server.put("/rows.csv", ROWS)
    fetch(url, desk(), tmp_path / "one")
    fetch(url, desk(), tmp_path / "two")
    first, second = server.asked("/rows.csv")
    assert "if-none-match" not in first
    assert second["if-none-match"] == server.files["/rows.csv"].etag
    assert (tmp_path / "one/source.json").read_bytes() == (tmp_path / "two/source.json").read_bytes()
    assert content(tmp_path / "two") == ROWS


def test_a_changed_file_is_fetched_anew_and_said_to_be(server, desk, tmp_path, notes):
    url = server.put("/rows.csv", ROWS)
    fetch(url, desk(), tmp_path / "one")
    server.put("/rows.csv", ROWS + b"more,1\n")
    fetch(url, desk(), tmp_path / "two")
    assert content(tmp_path / "two") == ROWS + b"more,1\n"
    assert any("changed since the last run" in note for note in notes)


def test_a_cut_download_goes_on_where_it_stopped(server, desk, tmp_path):
    url = server.put("/rows.csv", ROWS, faults=["cut:100000", "cut:50000"])
    fetch(url, desk(), tmp_path / "data")
    assert content(tmp_path / "data") == ROWS
    _, second, third = server.asked("/rows.csv")
    assert int(second["range"].removeprefix("bytes=").rstrip("-")) > 0
    assert second["if-range"] == server.files["/rows.csv"].etag
    assert third["range"] != second["range"]


def test_a_download_cut_for_good_keeps_what_came_and_the_next_run_goes_on(server, desk, tmp_path):
    url = server.put("/rows.csv", ROWS, faults=["cut:150000"] + ["cut:0"] * 20)
    with pytest.raises(NetworkError, match="could not be downloaded: the connection was cut"):
        fetch(url, desk(), tmp_path / "data")
    assert not (tmp_path / "data").exists()
    server.files["/rows.csv"].faults.clear()
    before = len(server.requests)
    fetch(url, desk(), tmp_path / "data")
    assert content(tmp_path / "data") == ROWS
    assert "range" in server.requests[before][1]


def test_a_file_that_changes_while_it_is_fetched_is_begun_again(server, desk, tmp_path, notes):
    url = server.put("/rows.csv", ROWS, faults=["cut:100000"] + ["cut:0"] * 20)
    with pytest.raises(NetworkError):
        fetch(url, desk(), tmp_path / "data")
    other = ROWS.replace(b"row", b"new")
    server.put("/rows.csv", other)
    fetch(url, desk(), tmp_path / "data")
    assert content(tmp_path / "data") == other
    assert any("changed while it was being downloaded" in note for note in notes)


def test_a_server_without_ranges_sends_it_all_again(server, desk, tmp_path):
    url = server.put("/rows.csv", ROWS, faults=["cut:100000"], ranges=False)
    fetch(url, desk(), tmp_path / "data")
    assert content(tmp_path / "data") == ROWS


def test_without_a_validator_nothing_is_glued_together(server, desk, tmp_path):
    url = server.put("/rows.csv", ROWS, faults=["cut:100000"], etag="")
    fetch(url, desk(), tmp_path / "data")
    assert content(tmp_path / "data") == ROWS
    assert "range" not in server.requests[1][1]


def test_429_is_waited_for_as_long_as_it_asks_and_500_a_little_longer_each_time(
    server, desk, tmp_path, notes
):
    url = server.put("/rows.csv", ROWS, faults=["429:7", "500", "503"])
    fetch(url, desk(), tmp_path / "data")
    assert content(tmp_path / "data") == ROWS
    assert notes.slept == [7.0, 1.0, 2.0]


@pytest.mark.parametrize("fault, what", [("500", "answered 500"), ("429:3600", "asking to wait 3600 s")])
def test_a_server_that_only_fails_is_one_clear_error(server, desk, tmp_path, fault, what):
    url = server.put("/rows.csv", ROWS, faults=[fault] * 20)
    with pytest.raises(NetworkError) as caught:
        fetch(url, desk(), tmp_path / "data")
    assert what in caught.value.message
    assert caught.value.retry
    assert caught.value.hint
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "status, what", [("404", "is not there"), ("403", "is not for us"), ("410", "is not there")]
)
def test_what_will_never_come_is_not_tried_again(server, desk, tmp_path, notes, status, what):
    url = server.put("/rows.csv", ROWS, faults=[status] * 3)
    with pytest.raises(DataError, match=what):
        fetch(url, desk(), tmp_path / "data")
    assert len(server.requests) == 1


def test_a_checksum_refuses_any_other_file_and_keeps_nothing(server, desk, tmp_path):
    url = server.put("/rows.csv", ROWS)
    with pytest.raises(DataError, match=f"its SHA-256 is {sha(ROWS)}, not {'0' * 64}"):
        fetch(url, desk(sha256="0" * 64), tmp_path / "data")
    assert not (tmp_path / "data").exists()
    assert not list((tmp_path / "downloads").rglob("sha256/*"))
    fetch(url, desk(sha256=sha(ROWS)), tmp_path / "data")
    server.requests.clear()
    fetch(url, desk(sha256=sha(ROWS)), tmp_path / "again")
    assert server.requests == []  # the checksum says it all


def test_offline_the_copy_is_used_and_said_to_be(server, desk, tmp_path, notes):
    url = server.put("/rows.csv", ROWS)
    fetch(url, desk(), tmp_path / "one")
    fetch(url, desk(offline=True), tmp_path / "two")
    assert len(server.requests) == 1
    assert content(tmp_path / "two") == ROWS
    assert any("Used the copy of" in note and "offline" in note for note in notes)


def test_without_network_the_copy_is_used_and_without_a_copy_one_error_says_what_to_do(desk, tmp_path, notes):
    with serving() as server:
        url = server.put("/rows.csv", ROWS)
        gone = server.put("/gone.csv", ROWS)
        fetch(url, desk(), tmp_path / "one")
    fetch(url, desk(), tmp_path / "two")
    assert content(tmp_path / "two") == ROWS
    assert any("no connection" in note for note in notes)
    with pytest.raises(NetworkError, match="no connection") as caught:
        fetch(gone, desk(), tmp_path / "three")
    assert caught.value.hint
    with pytest.raises(NetworkError, match="offline") as caught:
        fetch(gone, desk(offline=True), tmp_path / "three")
    assert not caught.value.retry
    assert not (tmp_path / "three").exists()


def test_a_damaged_copy_is_never_used(server, desk, tmp_path):
    url = server.put("/rows.csv", ROWS)
    fetch(url, desk(), tmp_path / "one")
    (blob,) = (tmp_path / "downloads/sha256").iterdir()
    blob.chmod(0o644)
    blob.write_bytes(ROWS[:-1])
    fetch(url, desk(), tmp_path / "two")
    assert content(tmp_path / "two") == ROWS


@pytest.mark.parametrize("url", ["http://example.com/rows.csv", "https://user:secret@127.0.0.1:9/rows.csv"])
def test_unsafe_addresses_are_refused_without_being_asked_and_without_their_secrets(desk, tmp_path, url):
    with pytest.raises(DataError) as caught:
        fetch(url, desk(), tmp_path / "data")
    assert "secret" not in str(caught.value.to_json())


def test_a_query_is_not_shown(server, desk, tmp_path):
    url = server.put("/rows.csv?token=secret", ROWS)
    fetch(url, desk(), tmp_path / "data")
    assert "secret" not in (tmp_path / "data/source.json").read_text()


def test_the_format_may_be_said_by_the_type(server, desk, tmp_path):
    url = server.put("/download", ROWS, kind="text/csv; charset=utf-8")
    fetch(url, desk(), tmp_path / "data")
    assert (tmp_path / "data/files/data.csv").read_bytes() == ROWS
    with pytest.raises(DataError, match="does not say its format"):
        fetch(server.put("/other", ROWS), desk(), tmp_path / "other")


def test_an_unknown_scheme_names_the_known_ones(desk, tmp_path):
    with pytest.raises(DataError, match="htps://") as caught:
        fetch("htps://a/b.csv", desk(), tmp_path / "data")
    assert "Did you mean `https://`?" in caught.value.hint
    assert "`pypi://`" in caught.value.hint
