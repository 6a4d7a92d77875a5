"""Issues of a repository, from a server that speaks GitHub's API and misbehaves as GitHub does."""

import json

import pytest
from tests.steps.github_server import github, issue

from tuneline.errors import DataError, NetworkError
from tuneline.steps.fetch import fetch

SECRET = "ghp_0123456789secret"


@pytest.fixture
def hub(monkeypatch):
    with github() as server:
        server.issues = [issue(number) for number in range(1, 251)]
        yield server


def rows(hub, desk, folder, query="", **env):
    """What a fetch brings, and its source.json."""
    made = desk(env={"GITHUB_API_URL": hub.url, **env})
    fetch(f"github-issues://o/r{query}", made, folder)
    lines = (folder / "files/issues.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines], json.loads((folder / "source.json").read_text())


def numbers(found):
    return [row["number"] for row in found]


def test_issues_are_brought_page_by_page_without_pull_requests(hub, desk, tmp_path):
    hub.issues[4] = issue(5, pull_request={"url": "..."})
    found, source = rows(hub, desk, tmp_path / "data")
    assert numbers(found) == [number for number in range(1, 251) if number != 5]
    assert found[0] == {
        "number": 1, "title": "Title 1", "body": "Body 1\nmore", "labels": "bug, help wanted",
        "state": "open", "created_at": "2026-01-01T00:00:00Z", "url": "https://github.com/o/r/issues/1",
    }  # fmt: skip
    assert source["source"] == "github-issues://o/r"
    assert source["resolved"] == {"repository": "o/r", "issues": 249}
    assert hub.pages() == [1, 2, 3, 1, 2, 3], "the second time to see that nothing moved meanwhile"
    assert hub.remaining == 57


def test_again_only_asks_what_changed_and_costs_no_limit(hub, desk, tmp_path):
    first, _ = rows(hub, desk, tmp_path / "one")
    hub.asked.clear()
    again, _ = rows(hub, desk, tmp_path / "two")
    assert again == first
    assert hub.pages() == [1, 2, 3]
    assert all("if-none-match" in headers for _, headers in hub.asked)
    assert hub.remaining == 57
    assert (tmp_path / "one/source.json").read_bytes() == (tmp_path / "two/source.json").read_bytes()


def test_a_changed_issue_and_a_new_one_are_seen_and_said(hub, desk, tmp_path, notes):
    rows(hub, desk, tmp_path / "one")
    hub.issues[120]["title"] = "Another"
    hub.issues.append(issue(251))
    found, _ = rows(hub, desk, tmp_path / "two")
    assert (found[120]["title"], found[-1]["number"]) == ("Another", 251)
    assert any("250 issues are now 251" in note for note in notes)


def test_an_issue_after_a_last_page_that_was_full_is_seen(hub, desk, tmp_path):
    """Its ETag is of the page's content, which did not change."""
    hub.issues = hub.issues[:200]
    rows(hub, desk, tmp_path / "one")
    hub.issues.append(issue(201))
    assert numbers(rows(hub, desk, tmp_path / "two")[0])[-1] == 201


def test_issues_that_close_while_pages_are_read_hide_none(hub, desk, tmp_path):
    """Two close on page 1 after it was read: what begins page 2 moves to page 1, and would be missed."""

    def close(page):
        if page == 2:
            hub.issues[3]["state"] = hub.issues[4]["state"] = "closed"

    hub.before = close
    found, _ = rows(hub, desk, tmp_path / "data")
    assert numbers(found) == [number for number in range(1, 251) if number not in (4, 5)]


def test_issues_that_open_again_while_pages_are_read_come_once(hub, desk, tmp_path):
    hub.issues[0]["state"] = "closed"

    def reopen(page):
        if page == 2:
            hub.issues[0]["state"] = "open"

    hub.before = reopen
    assert numbers(rows(hub, desk, tmp_path / "data")[0]) == list(range(1, 251))


def test_a_list_that_never_rests_is_taken_and_said(hub, desk, tmp_path, notes):
    def change(page):
        hub.issues[0]["title"] += "!"

    hub.before = change
    assert len(rows(hub, desk, tmp_path / "data")[0]) == 250
    assert any("kept changing" in note for note in notes)


@pytest.mark.parametrize(
    "query, expected",
    [
        ("?state=closed", [7]),
        ("?state=all", list(range(1, 251))),
        ("?labels=docs,bug", [9]),
        ("?since=2026-02-01", [7, 9]),
        ("?state=all&since=2026-02-02T00:00:00Z", [9]),
        ("?limit=120", list(range(131, 251))),
        ("?state=all&limit=3", [248, 249, 250]),
    ],
)
def test_state_labels_since_and_limit_choose(hub, desk, tmp_path, query, expected):
    hub.issues[6] = issue(
        7, state="closed" if "state" in query else "open", updated_at="2026-02-01T00:00:00Z"
    )
    hub.issues[8] = issue(9, labels=[{"name": "docs"}, {"name": "bug"}], updated_at="2026-02-03T00:00:00Z")
    found, source = rows(hub, desk, tmp_path / "data", query)
    assert numbers(found) == expected
    assert source["source"] == f"github-issues://o/r{query}"


def test_a_limit_asks_for_no_more_pages_than_it_takes(hub, desk, tmp_path):
    hub.issues[249] = issue(250, pull_request={})
    assert len(rows(hub, desk, tmp_path / "data", "?limit=100")[0]) == 100
    assert set(hub.pages()) == {1, 2}, "a pull request is none of the hundred"


@pytest.mark.parametrize("fault", ["500", "502", "cut", "html"])
def test_what_is_the_server_s_fault_is_tried_again(hub, desk, tmp_path, notes, fault):
    hub.faults = ["ok", fault, fault]
    assert len(rows(hub, desk, tmp_path / "data")[0]) == 250
    assert notes.slept == [0.5, 1.0]


def test_a_server_that_stays_broken_is_given_up_and_the_next_attempt_goes_on_where_it_stopped(
    hub, desk, tmp_path
):
    hub.faults = ["ok", *["500"] * 5]
    with pytest.raises(NetworkError, match="the server answered 500") as caught:
        rows(hub, desk, tmp_path / "data")
    assert caught.value.retry
    hub.asked.clear()
    assert len(rows(hub, desk, tmp_path / "data")[0]) == 250
    assert "if-none-match" in hub.asked[0][1]
    assert hub.remaining == 57, "page 1 was brought once"


def test_the_primary_limit_is_waited_for_until_it_is_reset_by_the_server_s_clock(hub, desk, tmp_path, notes):
    hub.remaining = 1

    def reset(seconds):
        notes.slept.append(seconds)
        hub.remaining = 60

    made = desk(env={"GITHUB_API_URL": hub.url})
    object.__setattr__(made, "sleep", reset)
    fetch("github-issues://o/r", made, tmp_path / "data")
    assert notes.slept == [121.0]
    assert any("Waiting 121 s for GitHub's rate limit of 60 requests an hour" in note for note in notes)


def test_a_limit_that_lasts_too_long_is_said_with_what_helps_and_pages_are_kept(
    hub, desk, tmp_path, monkeypatch
):
    monkeypatch.setattr("tuneline.steps.github.PATIENCE_S", 60.0)
    hub.remaining = 2
    with pytest.raises(
        NetworkError, match=r"rate limit of 60 requests an hour is used up until \d\d:\d\d UTC"
    ) as caught:
        rows(hub, desk, tmp_path / "data")
    assert not caught.value.retry
    assert "GITHUB_TOKEN" in caught.value.hint
    hub.remaining = 1
    assert len(rows(hub, desk, tmp_path / "data")[0]) == 250


def test_no_request_left_to_look_again_is_said_and_no_failure(hub, desk, tmp_path, monkeypatch, notes):
    monkeypatch.setattr("tuneline.steps.github.PATIENCE_S", 60.0)
    hub.remaining = 3
    hub.before = lambda page: hub.issues[0].update(title=f"{len(hub.asked)}")
    assert len(rows(hub, desk, tmp_path / "data")[0]) == 250
    assert any("left no request" in note for note in notes)


@pytest.mark.parametrize(
    "fault, slept", [("429:7", [7.0]), ("403:9", [9.0]), ("secondary", [60.0]), ("429", [60.0])]
)
def test_the_secondary_limit_is_kept_to(hub, desk, tmp_path, notes, fault, slept):
    hub.faults = [fault]
    assert len(rows(hub, desk, tmp_path / "data")[0]) == 250
    assert notes.slept == slept


@pytest.mark.parametrize("fault, slept", [("429:4", [4.0] * 2), ("429:0", [1.0] * 10)])
def test_a_limit_that_is_never_lifted_is_given_up(hub, desk, tmp_path, monkeypatch, notes, fault, slept):
    monkeypatch.setattr("tuneline.steps.github.PATIENCE_S", 10.0)
    hub.faults = [fault] * 1000
    with pytest.raises(NetworkError, match="rate limit"):
        rows(hub, desk, tmp_path / "data")
    assert notes.slept == slept


def test_a_limit_without_end_is_given_up_at_once(hub, desk, tmp_path, notes):
    hub.faults = [f"429:{'9' * 400}"]
    with pytest.raises(NetworkError, match="rate limit"):
        rows(hub, desk, tmp_path / "data")
    assert notes.slept == []


def test_an_address_that_leads_in_a_circle_is_refused(hub, desk, tmp_path):
    hub.faults = [f"to:{hub.url}"] * 50
    with pytest.raises(DataError, match="leads nowhere"):
        rows(hub, desk, tmp_path / "data")


def test_a_page_that_came_from_another_host_does_not_draw_the_token_there(hub, desk, tmp_path):
    with github() as other:
        other.issues = hub.issues
        hub.faults = [f"to:{other.url}"]
        with pytest.raises(DataError, match="leads on to another host"):
            rows(hub, desk, tmp_path / "data", GITHUB_TOKEN=SECRET)
        assert other.asked
        assert all("authorization" not in headers for _, headers in other.asked)


def test_without_network_the_copy_is_used_and_said(hub, desk, tmp_path, notes):
    first, _ = rows(hub, desk, tmp_path / "one")
    fetch("github-issues://o/r", desk(env={}, offline=True), tmp_path / "two")
    assert (tmp_path / "two/files/issues.jsonl").read_text().count("\n") == len(first)
    hub.faults = ["500"] * 5
    rows(hub, desk, tmp_path / "three")
    assert [note for note in notes if note.startswith("Used the copy of github-issues://o/r")]
    with pytest.raises(NetworkError, match="is not on this machine"):
        fetch("github-issues://o/other", desk(env={}, offline=True), tmp_path / "four")


@pytest.mark.parametrize("name", ["GITHUB_TOKEN", "TUNELINE_SECRET_GITHUB_TOKEN", "TUNELINE_SECRET_MINE"])
def test_a_token_goes_into_a_header_and_nowhere_else(hub, desk, tmp_path, notes, name):
    hub.token = SECRET
    query = "?token=TUNELINE_SECRET_MINE" if name.endswith("MINE") else ""
    _, source = rows(hub, desk, tmp_path / "data", query, **{name: SECRET})
    assert all(headers["authorization"] == f"Bearer {SECRET}" for _, headers in hub.asked)
    assert source["source"] == "github-issues://o/r"
    everywhere = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert SECRET not in everywhere + " ".join(notes) + " ".join(path for path, _ in hub.asked)


def test_a_wrong_token_is_refused_without_showing_it(hub, desk, tmp_path):
    hub.token = "another"
    with pytest.raises(DataError) as caught:
        rows(hub, desk, tmp_path / "data", GITHUB_TOKEN=SECRET)
    assert "does not accept the token (GitHub says: Bad credentials)" in caught.value.message
    assert SECRET not in json.dumps(caught.value.to_json()) + repr(caught.value.__cause__)


def test_a_token_for_github_is_not_given_to_a_host_that_the_project_names(hub, desk, tmp_path):
    made = desk(env={"GITHUB_TOKEN": SECRET})
    fetch(f"github-issues://o/r?api={hub.url}", made, tmp_path / "data")
    assert all("authorization" not in headers for _, headers in hub.asked)


@pytest.mark.parametrize(
    "address, said",
    [
        ("github-issues://o", "`o` is no repository"),
        ("github-issues://o/r/x", "`o/r/x` is no repository"),
        (f"github-issues://{SECRET}@o/r", "has a user or token in it"),
        ("github-issues://o/r?labls=x", "asks for `labls`"),
        ("github-issues://o/r?state=done", "`state` is `done`; it can be open, closed, all"),
        ("github-issues://o/r?since=yesterday", "`since` is `yesterday`"),
        ("github-issues://o/r?limit=-1", "`limit` is `-1`"),
        (f"github-issues://o/r?token={SECRET}", "`token` is no name of a variable"),
        ("github-issues://o/r?token=TUNELINE_SECRET_NONE", "in TUNELINE_SECRET_NONE, which is not set"),
        ("github-issues://o/r?api=http://example.com", "is not safe"),
        (
            "github-issues://o/gone",
            "is not there, or not for us: the server answered 404 (GitHub says: Not Found)",
        ),
        ("github-issues://o/r?labels=nothing", "has no issues"),
    ],
)
def test_a_wrong_address_is_said_and_secrets_are_not_repeated(hub, desk, tmp_path, address, said):
    with pytest.raises(DataError) as caught:
        fetch(address, desk(env={"GITHUB_API_URL": hub.url}), tmp_path / "data")
    assert said in caught.value.message
    assert SECRET not in json.dumps(caught.value.to_json())
