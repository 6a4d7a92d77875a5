"""TensorBoard over a run's logs: which folders are logs, and a real one started, found again and ended."""

import json
import time
from pathlib import Path

import httpx
import pytest

from tuneline.actions.boards import logs_of
from tuneline.control import processes
from tuneline.control.boards import Boards, _process, _read
from tuneline.errors import NotFoundError
from tuneline.plan.events import AttemptStarted
from tuneline.train.curves import Curves


def write_logs(folder: Path, tag: str = "train/loss") -> Path:
    with Curves(folder, 1.0) as curves:
        for step in range(1, 4):
            curves.add(step, {tag: 1.0 / step}, 1.0 + step)
    return folder


def task(name, artifacts=None, folder=None):
    shown = {key: [{"uri": str(path)}] for key, path in (artifacts or {}).items()}
    return {
        "name": name,
        "kind": "task",
        "outputs": {"artifacts": shown} if artifacts else None,
        "folder": folder,
    }


def test_outputs_with_event_files_are_logs_also_while_their_task_runs(tmp_path):
    done, model = write_logs(tmp_path / "done"), tmp_path / "model"
    model.mkdir()
    write_logs(tmp_path / "3" / "outputs" / "logs")
    tasks = [
        task("loop-1/0/tune", {"logs": done, "model": model, "gone": tmp_path / "gone"}),
        task("more", folder=str(tmp_path / "3")),
        task("waiting"),
    ]
    running = tmp_path / "3" / "outputs" / "logs"
    assert logs_of(tasks) == ({"loop-1.0.tune.logs": done, "more.logs": running}, [])


def test_what_has_no_path_of_its_own_is_no_log_wherever_the_server_was_started(tmp_path, monkeypatch):
    write_logs(tmp_path / "logs")
    monkeypatch.chdir(tmp_path)
    elsewhere = task("train", {"metrics": "", "far": "s3://bucket/logs", "logs": "logs"})
    assert logs_of([elsewhere]) == ({}, [])
    own = task("train", {"logs": ""})
    own["outputs"]["artifacts"]["logs"][0]["custom_path"] = str(tmp_path / "logs")
    assert logs_of([own]) == ({"train.logs": tmp_path / "logs"}, [])


def test_what_a_components_ui_metadata_names_is_shown_too(tmp_path):
    first, second = write_logs(tmp_path / "a"), write_logs(tmp_path / "b")
    entries = [
        {"type": "tensorboard", "source": str(first)},
        {"type": "tensorboard", "source": f"x:{first},y:{second}"},
        {"type": "tensorboard", "source": "gs://bucket/logs"},
        {"type": "table", "source": str(second)},
    ]
    metadata = tmp_path / "metadata"
    metadata.write_text(json.dumps({"outputs": entries}))
    found, skipped = logs_of([task("train", {"mlpipeline_ui_metadata": metadata})])
    name = "train.mlpipeline_ui_metadata"
    assert found == {name: first, f"{name}.x": first, f"{name}.y": second}
    assert skipped == ["gs://bucket/logs"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"outputs": 3}', '{"outputs": [3]}', '{"outputs": [{}]}'])
def test_metadata_that_is_none_is_no_fault_of_the_run(tmp_path, text):
    (tmp_path / "m").write_text(text)
    assert logs_of([task("train", {"mlpipeline-ui-metadata": tmp_path / "m"})]) == ({}, [])


def runs_of(url: str, within_s: float = 30.0) -> list[str]:
    """The runs that a TensorBoard shows, once it shows any."""
    deadline = time.monotonic() + within_s
    while not (found := httpx.get(f"{url}data/runs", trust_env=False).json()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


@pytest.mark.slow
def test_a_board_starts_shows_the_curves_is_found_again_and_ends(tmp_path):
    logs = write_logs(tmp_path / "logs")
    boards = Boards(tmp_path / "boards")
    url = boards.open("r1", {"tune.logs": logs})
    assert runs_of(url) == ["tune.logs"]
    query = {"run": "tune.logs", "tag": "train/loss"}
    points = httpx.get(f"{url}data/plugin/scalars/scalars", params=query, trust_env=False).json()
    assert [round(value, 3) for _, _, value in points] == [1.0, 0.5, 0.333]
    later = Boards(tmp_path / "boards", idle_s=0.5)  # another server
    assert later.open("r1", {"tune.logs": logs}) == url
    process = _process(_read(tmp_path / "boards" / "r1"))
    later.stop_all()
    assert not processes.alive(process)
    later.open("r1", {"tune.logs": logs})
    process = _process(_read(tmp_path / "boards" / "r1"))
    processes.wait([process], 20.0)
    assert not processes.alive(process)


class Opener:
    """Remembers what was asked for."""

    def __init__(self):
        self.asked = []

    def open(self, run, logs):
        self.asked.append((run, dict(logs)))
        return "http://127.0.0.1:6006/"


def test_a_run_without_logs_says_what_would_be_some(client, ir):
    run = client.submit(ir, {}, {"name": "greet"})["id"]
    with pytest.raises(NotFoundError, match="has no TensorBoard logs") as wrong:
        client.tensorboard(run)
    assert "event files" in wrong.value.hint
    with pytest.raises(NotFoundError, match="nothing"):
        client.tensorboard("nothing")


def test_the_link_of_a_run_that_trains_leads_there(client, url, platform, runner, ir, tmp_path):
    opener = Opener()
    platform.boards._opener = opener
    run = client.submit(ir, {}, {"name": "greet"})["id"]
    logs = write_logs(tmp_path / "1" / "outputs" / "logs")
    runner.record.runs.append(
        runner.leases[run], [AttemptStarted("hello", 1, 1, 1.0, str(tmp_path / "1"))], 2.0
    )
    answer = httpx.get(f"{url}/runs/{run}/tensorboard", trust_env=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "http://127.0.0.1:6006/")
    assert opener.asked == [(run, {"hello.logs": logs})]
    assert client.tensorboard(run)["logs"] == {"hello.logs": str(logs)}
