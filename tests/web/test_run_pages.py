"""The page of a run, as it comes from the server: what it shows, what it escapes, what it leads to."""

import re
from html import unescape

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import insert
from tests.web.nested import IR, Story, told

from tuneline.plan.events import Child
from tuneline.record.schema import tasks
from tuneline.record.views import new_task
from tuneline.web import create_app


@pytest.fixture
def http(platform):
    with TestClient(create_app(platform), base_url="http://localhost", follow_redirects=False) as made:
        yield made


@pytest.fixture
def story(platform, runner, tmp_path):
    return told(
        platform, runner, tmp_path / "runs", {"title": "<b>bold</b>", "api_token": "s3cr3t-value", "n": 3}
    )


def page(http, path):
    answer = http.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 200, answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    return answer.text


def boxes(text):
    """(label, class) of the drawn boxes."""
    return re.findall(r'<g class="box (\w+)[^"]*".*?<text x="12" y="21">([^<]*)', text, re.DOTALL)


def test_the_page_shows_graph_states_parameters_and_tasks(http, story):
    text = page(http, f"/runs/{story.id}")
    assert boxes(text) == [
        ("succeeded", "train"),
        ("succeeded", "inner"),
        ("failed", "for-loop-1"),
        ("skipped", "report"),
    ]
    assert "2 of 3 done, 1 failed" in text
    assert len(re.findall('<path class="line"', text)) == 3
    assert "It broke." in text
    assert "Mend it." in text
    assert f'href="/runs/{story.id}/logs?task=for-loop-1%2F2%2Fprint"' in text
    assert "`for-loop-1` failed" in text
    assert re.search(r"rate</th><td><code>0.125</code>", text)


def test_nothing_of_a_user_is_markup_and_no_secret_is_shown(http, story):
    for path in ("", "?task=train", "/logs?task=train"):
        text = page(http, f"/runs/{story.id}{path}")
        for markup in ("<b>bold", "<b>given", "<img", "<script>"):
            assert markup not in text
        assert "s3cr3t-value" not in text
        assert "h1dden" not in text
    assert "&lt;b&gt;bold&lt;/b&gt;" in page(http, f"/runs/{story.id}")


def test_nested_pipelines_loops_and_iterations_open_one_by_one(http, story):
    text = page(http, f"/runs/{story.id}?within=inner")
    assert boxes(text) == [("succeeded", "print")]
    assert f'<a href="/runs/{story.id}">pipeline</a>' in text
    text = page(http, f"/runs/{story.id}?within=for-loop-1")
    assert re.findall(r"within=for-loop-1/(\d)", text) == ["0", "1", "2"]
    assert boxes(page(http, f"/runs/{story.id}?within=for-loop-1/2")) == [("failed", "print")]
    assert "It broke." in page(http, f"/runs/{story.id}?within=for-loop-1/2/print")


def test_a_task_shows_what_it_was_given_and_what_it_put_out(http, story):
    text = page(http, f"/runs/{story.id}?task=train")
    assert "&lt;b&gt;given&lt;/b&gt;" in text
    assert "&lt;img src=x&gt;" in text
    assert "<code>0.25</code>" in text


def test_artifacts_show_what_they_hold(http, story):
    text = page(http, f"/runs/{story.id}")
    assert re.search(r"<td>accuracy</td>\s*<td>0.875</td>", text)
    assert 'class="heat9">7' in text
    assert '<polyline points="0.0,240.0' in text
    assert "<h1>Notes</h1>" in text
    assert f'href="/runs/{story.id}/tensorboard"' in text
    frames = [
        unescape(found) for found in re.findall(r'<iframe sandbox="allow-scripts"[^>]*src="([^"]+)"', text)
    ]
    assert len(frames) == 2
    shown = [http.get(frame) for frame in frames]
    assert [("<p>Hi" in answer.text, "web app" in answer.text) for answer in shown] == [
        (True, False),
        (False, True),
    ]
    for answer in shown:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("sandbox allow-scripts; default-src 'none'")
        assert "allow-same-origin" not in policy


def test_an_artifact_is_downloaded_and_never_shown_as_a_page(http, story, tmp_path):
    text = page(http, f"/runs/{story.id}")
    link = unescape(re.search(r'href="([^"]*model/content)"', text).group(1))
    answer = http.get(link)
    assert answer.text == "weights"
    assert answer.headers["content-disposition"].startswith("attachment")
    (tmp_path / "runs" / story.id / "train" / "1" / "notes").unlink()
    assert page(http, f"/runs/{story.id}").count("<iframe") == 2
    assert http.get("/artifacts/view?id=nobody").status_code == 404
    assert http.get("/artifacts/view", params={"id": f"{story.id}/train/1/model"}).status_code == 404


def test_logs_are_shown_from_their_end_and_given_as_text(http, story, tmp_path):
    text = page(http, f"/runs/{story.id}/logs?task=for-loop-1/0/print")
    assert "item 0" in text
    raw = http.get(f"/runs/{story.id}/logs?task=train&raw=true")
    assert raw.headers["content-type"].startswith("text/plain")
    assert "<script>alert(1)</script>" in raw.text
    (tmp_path / "runs" / story.id / "train" / "1" / "log.txt").write_text(
        "first\n" + "line\n" * 20_000 + "last\n"
    )
    text = page(http, f"/runs/{story.id}/logs?task=train")
    assert "last" in text
    assert "first" not in text
    assert re.findall(r"logs\?task=([^\"]+)", page(http, f"/runs/{story.id}/logs")) == [
        "train", "inner/print", "for-loop-1/2/print"]  # fmt: skip


def test_what_is_not_there_is_told_as_a_page(http, story):
    for path in ("/runs/nobody", f"/runs/{story.id}?within=x", f"/runs/{story.id}?task=x", "/nowhere"):
        answer = http.get(path, headers={"Accept": "text/html"})
        assert answer.status_code == 404
        assert "<h1>" in answer.text
        assert http.get(path).headers["content-type"] == "application/json"


def test_a_run_under_way_refreshes_and_is_canceled_by_a_button(http, platform, runner, tmp_path):
    story = Story(platform, runner, tmp_path / "runs")
    text = page(http, f"/runs/{story.id}")
    assert "data-refresh" in text
    assert '<meta http-equiv="refresh"' in text
    answer = http.post(f"/runs/{story.id}/cancel")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/runs/{story.id}")
    text = page(http, f"/runs/{story.id}")
    assert "data-refresh" not in text
    assert "Retry" in text
    assert http.post(f"/runs/{story.id}/cancel", headers={"Accept": "text/html"}).status_code == 409


def test_five_thousand_tasks_of_a_loop_are_a_page_of_few_lines(http, platform, runner, tmp_path):
    """The slowest thing a page may be asked for: a loop of 2,500 iterations, each with a task."""
    story = Story(platform, runner, tmp_path / "runs")
    rows = []
    for n in range(2500):
        turn = f"for-loop-1/{n}"
        rows.append(new_task(story.id, "for-loop-1", Child(turn, "iteration", f"each {n}"), n + 4, n))
        rows.append(new_task(story.id, turn, Child(f"{turn}/print", "task", "print"), 0))
    with platform.record.runs._store.write() as db:
        db.execute(insert(tasks), rows)
    text = page(http, f"/runs/{story.id}")
    assert "0 of 2,500 done" in text
    assert len(text) < 40_000


@pytest.mark.slow
def test_five_thousand_tasks_side_by_side_are_drawn_as_one_box(http, platform, runner):
    leaf = IR["root"]["dag"]["tasks"]["train"]
    wide = {"start": leaf} | {f"work-{n}": {**leaf, "dependentTasks": ["start"]} for n in range(5000)}
    root = {"dag": {"tasks": wide}}
    run = platform.submit({**IR, "root": root}, {}, {"name": "wide"})["id"]
    text = page(http, f"/runs/{run}")
    assert [label for _, label in boxes(text)] == ["start", "work ×5000"]
    assert len(text) < 100_000
