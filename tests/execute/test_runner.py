"""The local runner with real processes: what it runs, tries again, stops, caches and refuses."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.execute.conftest import processes_in
from tests.execute.doubles import EventLog, pipeline, submitted

from tuneline.errors import ConflictError, NotFoundError, SpecError
from tuneline.execute.files import Tail
from tuneline.execute.images import RefusedImage
from tuneline.execute.runner import Runner
from tuneline.execute.submitted import write_secrets
from tuneline.plan.events import AttemptFailed, RunEnded, TaskCached, TaskSucceeded
from tuneline.types import RunId

R = RunId("r1")


def _run(runner: Runner, log: EventLog, tasks: dict[str, Any], run: str = "r1", **values: Any) -> RunEnded:
    runner.start(submitted(RunId(run), pipeline(tasks), values), log.lease(run))
    assert runner.wait(20, RunId(run)), log.of(run)
    ended = log.of(run)[-1]
    assert isinstance(ended, RunEnded)
    return ended


def _until(true: Callable[[], Any], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


def test_parameters_and_files_go_from_task_to_task_and_outputs_are_on_record_with_their_digests(
    runner: Runner, log: EventLog, tmp_path: Path
) -> None:
    tasks = {
        "make": {
            "sh": "printf 5 >{{$.outputs.parameters['n'].output_file}};"
            " echo rows >{{$.outputs.artifacts['f'].path}}",
            "out": ["n"],
            "made": ["f"],
        },
        "read": {
            "sh": "cat {{$.inputs.artifacts['f'].path}}; echo n={{$.inputs.parameters['n']}}",
            "given": {"n": ("make", "n")},
            "read": {"f": ("make", "f")},
        },
    }
    assert _run(runner, log, tasks) == RunEnded("SUCCEEDED")
    made = next(event for event in log.of("r1") if isinstance(event, TaskSucceeded))
    assert made.outputs.parameters == {"n": "5"}
    ref = made.outputs.artifacts["f"][0]
    assert (ref.uri, ref.size_bytes) == (str(tmp_path / "runs/r1/make/1/outputs/f"), 5)
    assert (tmp_path / "runs/r1/read/1/log.txt").read_text() == "rows\nn=5\n"


def test_a_step_of_our_own_image_runs_in_a_fork_of_its_shim_and_its_progress_is_stored(
    runner: Runner, log: EventLog
) -> None:
    task = {"image": "noop", "command": ["{{$}}"], "given": {"x": "1"}, "out": ["out"]}
    assert _run(runner, log, {"n": task}).state == "SUCCEEDED"
    done = next(event for event in log.of("r1") if isinstance(event, TaskSucceeded))
    assert done.outputs.parameters == {"out": '"1"'}
    ((run, name, point),) = log.points
    assert (run, name, point["type"], point["done"], point["loss"], point["attempt"]) == (
        "r1", "n", "progress", 1, 0.5, 1,
    )  # fmt: skip


def test_tasks_run_beside_each_other_as_far_as_slots_go(make_runner: Any, log: EventLog) -> None:
    runner = make_runner(slots=2)
    tasks = {f"t{n}": {"sh": "sleep 0.15"} for n in range(4)}
    started = time.monotonic()
    assert _run(runner, log, tasks).state == "SUCCEEDED"
    assert time.monotonic() - started > 0.3
    running = most = 0
    for kind in log.kinds("r1"):
        running += (kind == "attempt_started") - (kind == "task_succeeded")
        most = max(most, running)
    assert most == 2


def test_slots_are_shared_by_all_runs(make_runner: Any, log: EventLog) -> None:
    runner = make_runner(slots=1)
    for run in ("r1", "r2"):
        tasks = {f"t{n}": {"sh": "true"} for n in range(3)}
        runner.start(submitted(RunId(run), pipeline(tasks), {}), log.lease(run))
    assert runner.wait(20)
    order = [stored.run for stored in log.stored if stored.event.kind == "attempt_started"]
    assert order[:4] in (["r1", "r2", "r1", "r2"], ["r2", "r1", "r2", "r1"])  # they take turns


def test_a_failed_task_is_tried_again_with_backoff_and_its_dependents_are_skipped_in_the_end(
    runner: Runner, log: EventLog
) -> None:
    tasks = {
        "bad": {"sh": "echo no such thing >&2; exit 3", "retries": 2, "backoff": "0.05s"},
        "next": {"after": ["bad"]},
        "other": {},
    }
    ended = _run(runner, log, tasks)
    assert ended.state == "FAILED"
    assert ended.error is not None
    assert ended.error["task"] == "bad"
    assert ended.error["message"] == "Task `bad` ended with exit code 3."
    assert ended.error["details"] == ["no such thing"]
    failed = [event for event in log.of("r1") if isinstance(event, AttemptFailed)]
    assert [event.retry_at is not None for event in failed] == [True, True, False]
    assert log.kinds("r1", "next") == ["task_skipped"]
    assert log.kinds("r1", "other") == ["attempt_started", "task_succeeded"]


def test_an_error_that_says_retry_never_is_not_tried_again(runner: Runner, log: EventLog) -> None:
    error = '{"code": "invalid_data", "message": "no rows", "hint": "", "details": [], "retry": false}'
    task = {"sh": f"echo '{error}' > error.json; exit 1", "retries": 5}
    ended = _run(runner, log, {"t": task})
    assert ended.error is not None
    assert (ended.error["code"], ended.error["message"]) == ("invalid_data", "no rows")
    assert log.kinds("r1", "t") == ["attempt_started", "attempt_failed"]


def test_what_is_kept_in_the_state_folder_is_there_for_the_next_attempt(
    runner: Runner, log: EventLog, tmp_path: Path
) -> None:
    script = 'cd "$TUNELINE_TASK_STATE"; test -e was_here || { touch was_here; exit 1; }'
    assert _run(runner, log, {"t": {"sh": script, "retries": 1}}).state == "SUCCEEDED"
    _until(lambda: not (tmp_path / "runs/r1/t/state").exists())  # of no more use


def test_a_task_that_ends_without_a_declared_output_has_failed(runner: Runner, log: EventLog) -> None:
    ended = _run(runner, log, {"t": {"sh": "true", "out": ["n"]}})
    assert ended.error is not None
    assert ended.error["message"] == "The task ended without its output parameter `n`."


@pytest.mark.parametrize("stubborn", ["", "trap '' TERM; "])
def test_a_task_over_its_time_is_stopped_and_leaves_no_process(
    runner: Runner, log: EventLog, tmp_path: Path, stubborn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuneline.execute.attempts.GRACE_S", 0.2)
    script = f"{stubborn}setsid sleep 60 & (setsid sh -c 'sleep 61 & sleep 62' &) ; while :; do sleep 1; done"
    ir = pipeline({"t": {"sh": script}})
    deadline = {"exec-t": {"activeDeadlineSeconds": 0.3}}
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": deadline}}}}
    runner.start(submitted(R, {"pipeline_spec": ir, "platform_spec": platform}, {}), log.lease("r1"))
    assert runner.wait(10)
    ended = log.of("r1")[-1]
    assert isinstance(ended, RunEnded)
    assert ended.error is not None
    assert ended.error["message"] == "Task `t` was stopped: it ran longer than 0.3 s."
    assert not processes_in(tmp_path)


def test_a_canceled_run_ends_and_leaves_no_process_not_even_grandchildren_in_their_own_sessions(
    runner: Runner, log: EventLog, tmp_path: Path
) -> None:
    script = "(setsid sh -c 'sleep 60 & sleep 61' &) ; (nohup sleep 62 &) ; touch ready; sleep 63"
    runner.start(submitted(R, pipeline({"t": {"sh": script}, "u": {"after": ["t"]}}), {}), log.lease("r1"))
    _until(lambda: (tmp_path / "runs/r1/t/1/ready").exists())
    _until(lambda: len(processes_in(tmp_path)) >= 6)
    runner.cancel(R, by="ann")
    assert runner.wait(10)
    assert log.kinds("r1")[-3:] == ["cancel_requested", "task_canceled", "run_ended"]
    assert log.of("r1")[-1] == RunEnded("CANCELED")
    assert not processes_in(tmp_path)
    assert runner.idle()


def test_what_a_task_leaves_running_when_it_succeeds_is_ended_too(
    runner: Runner, log: EventLog, tmp_path: Path
) -> None:
    assert _run(runner, log, {"t": {"sh": "(setsid sleep 60 &); true"}}).state == "SUCCEEDED"
    assert not processes_in(tmp_path)


@pytest.mark.parametrize("victim", ["task", "shim"])
def test_a_killed_attempt_is_lost_and_made_again_without_using_up_a_retry(
    runner: Runner, log: EventLog, tmp_path: Path, victim: str
) -> None:
    script = (
        'cd "$TUNELINE_TASK_STATE"; test -e was_here || { touch was_here; (setsid sleep 60 &); sleep 60; }'
    )
    runner.start(submitted(R, pipeline({"t": {"sh": script}}), {}), log.lease("r1"))
    _until(lambda: (tmp_path / "runs/r1/t/state/was_here").exists())
    shim = psutil.Process(next(e.event.pid for e in log.stored if e.event.kind == "attempt_started"))
    os.kill(shim.pid if victim == "shim" else shim.children()[0].pid, signal.SIGKILL)
    assert runner.wait(10)
    assert log.kinds("r1", "t") == ["attempt_started", "attempt_failed", "attempt_started", "task_succeeded"]
    failed = next(event for event in log.of("r1") if isinstance(event, AttemptFailed))
    assert failed.lost
    assert "was lost" in failed.error["message"]
    assert not processes_in(tmp_path)


def test_the_same_task_again_is_taken_from_the_cache_until_something_it_reads_changes(
    runner: Runner, log: EventLog, tmp_path: Path
) -> None:
    def tasks(text: str) -> dict[str, Any]:
        made = "{{$.outputs.artifacts['f'].path}}"
        return {
            "fetch": {"sh": f"printf '{text}' >{made}", "made": ["f"]},
            "use": {
                "sh": f"cat {{{{$.inputs.artifacts['f'].path}}}} >{made}",
                "read": {"f": ("fetch", "f")},
                "made": ["f"],
                "cached": True,
            },
        }

    for run, text in (("r1", "a"), ("r2", "a"), ("r3", "b")):
        assert _run(runner, log, tasks(text), run).state == "SUCCEEDED"
    assert log.kinds("r2", "use") == ["task_cached"]  # fetch ran again and gave the same bytes
    hit = next(event for event in log.of("r2") if isinstance(event, TaskCached))
    assert (hit.source_run, hit.source_task) == ("r1", "use")
    assert log.kinds("r3", "use") == ["attempt_started", "task_succeeded"]
    (tmp_path / "runs/r1/use/1/outputs/f").unlink()
    assert _run(runner, log, tasks("a"), "r4").state == "SUCCEEDED"
    assert log.kinds("r4", "use") == [
        "attempt_started",
        "task_succeeded",
    ]  # its file is gone, so it is made again


def test_an_ended_run_goes_on_from_what_failed(runner: Runner, log: EventLog, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    tasks = {"a": {}, "b": {"sh": f"test -e {flag}", "after": ["a"]}, "c": {"after": ["b"]}}
    assert _run(runner, log, tasks).state == "FAILED"
    flag.touch()
    runner.retry(submitted(R, pipeline(tasks)), log.lease("r1"), by="ann")
    assert runner.wait(10)
    assert log.of("r1")[-1] == RunEnded("SUCCEEDED")
    assert log.kinds("r1", "a") == ["attempt_started", "task_succeeded"]
    with pytest.raises(ConflictError, match="nothing to retry"):
        runner.retry(submitted(R, pipeline(tasks)), log.lease("r1"), by="ann")


def test_a_pipeline_that_cannot_run_is_refused_before_anything_of_it_runs(
    runner: Runner, log: EventLog
) -> None:
    lease = log.lease("r1")
    with pytest.raises(SpecError) as caught:
        runner.start(
            submitted(R, pipeline({"a": {"image": "python:3.11"}, "b": {"image": "tuneline"}}), {}), lease
        )
    assert caught.value.details == [
        "component `comp-a` needs the image `python:3.11`",
        "component `comp-b`: the image `tuneline` runs only `tuneline step NAME --executor-input {{$}}`",
    ]
    with pytest.raises(SpecError) as caught:
        runner.start(submitted(R, pipeline({"a": {}}), {"x": 1}), lease)
    assert caught.value.details == ["the pipeline has no parameter `x`"]
    with pytest.raises(SpecError) as caught:
        runner.start(submitted(R, {"root": {}}, {}), lease)
    assert len(caught.value.details) == 2
    with pytest.raises(NotFoundError):
        runner.cancel(R, by="ann")
    assert not log.stored
    assert runner.idle()


def test_a_run_goes_on_when_the_record_works_again(
    runner: Runner, log: EventLog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A full disk under the record: nothing starts that is not on record, and nothing is forgotten."""
    monkeypatch.setattr("tuneline.execute.active.RECORD_RETRY_S", 0.1)
    ir = pipeline({"a": {"sh": "touch ready; sleep 0.2"}, "b": {"after": ["a"]}})
    runner.start(submitted(R, ir), log.lease("r1"))
    _until(lambda: (tmp_path / "runs/r1/a/1/ready").exists())
    log.broken = OSError(28, "No space left on device")
    _until(lambda: (tmp_path / "runs/r1/a/1/exit.json").exists())
    time.sleep(0.25)
    assert log.kinds("r1", "b") == []
    log.broken = None
    assert runner.wait(10)
    assert log.of("r1")[-1] == RunEnded("SUCCEEDED")
    assert log.kinds("r1", "a") == ["attempt_started", "task_succeeded"]


def test_the_end_of_an_attempt_and_what_follows_from_it_are_one_transaction(
    runner: Runner, log: EventLog
) -> None:
    runner.start(submitted(R, pipeline({"a": {}, "b": {"after": ["a"]}})), log.lease("r1"))
    assert runner.wait(10)
    assert log.together == [
        ["run_started"],
        ["attempt_started"],
        ["task_succeeded", "attempt_started"],
        ["task_succeeded", "run_ended"],
    ]


def test_a_runner_whose_run_was_taken_over_begins_nothing_in_the_other_s_folders(
    runner: Runner, log: EventLog, tmp_path: Path
) -> None:
    ir = pipeline({"a": {"sh": "touch ready; sleep 0.2"}, "b": {"after": ["a"]}})
    runner.start(submitted(R, ir), log.lease("r1"))
    _until(lambda: (tmp_path / "runs/r1/a/1/ready").exists())
    log.lease("r1")
    theirs = tmp_path / "runs/r1/b/1/theirs"
    theirs.parent.mkdir(parents=True)
    theirs.touch()
    assert runner.wait(10)
    assert theirs.exists()
    assert log.kinds("r1") == ["run_started", "attempt_started"]


def test_a_runner_whose_run_was_taken_over_writes_nothing_more_and_lets_its_tasks_live(
    make_runner: Any, log: EventLog, tmp_path: Path
) -> None:
    first, second = make_runner(), make_runner()
    ir = pipeline({"a": {"sh": "touch ready; sleep 0.3"}, "b": {"after": ["a"]}})
    first.start(submitted(R, ir), log.lease("r1"))
    _until(lambda: (tmp_path / "runs/r1/a/1/ready").exists())
    second.start(submitted(R, ir), log.lease("r1"))
    assert second.wait(10)
    assert first.wait(10)
    for task in ("a", "b"):
        assert log.kinds("r1", task) == ["attempt_started", "task_succeeded"]


def test_a_task_gets_a_clean_environment(make_runner: Any, log: EventLog, tmp_path: Path) -> None:
    logins = dict.fromkeys(("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "KAGGLE_KEY"), "hunter2")
    env = {"PATH": os.environ["PATH"], "SECRET_TOKEN": "hunter2", "HF_HOME": "/hf", "TUNELINE_TASK": "other"}
    env |= logins
    runner = make_runner(env=env, server_url="http://127.0.0.1:1")
    assert _run(runner, log, {"t": {"sh": "env"}}).state == "SUCCEEDED"
    lines = set((tmp_path / "runs/r1/t/1/log.txt").read_text().splitlines())
    assert {
        "HF_HOME=/hf",
        "TUNELINE_URL=http://127.0.0.1:1",
        f"TUNELINE_HOME={tmp_path}",
        f"TUNELINE_TASK_STATE={tmp_path}/runs/r1/t/state",
        "TUNELINE_RUN_ID=r1",
        "TUNELINE_TASK=t",
    } <= lines
    assert not any("hunter2" in line for line in lines)


@pytest.mark.parametrize("images", [{}, {"host": RefusedImage("host", "containers")}])
def test_a_task_under_way_is_adopted_though_its_image_is_not_to_be_had_any_more(
    make_runner: Any, log: EventLog, tmp_path: Path, images: dict[str, Any]
) -> None:
    first, go = make_runner(), tmp_path / "go"
    ir = pipeline({"a": {"sh": f"until [ -e {go} ]; do sleep 0.01; done"}})
    first.start(submitted("r1", ir), log.lease("r1"))
    _until(lambda: log.kinds("r1", "a"))
    first.stop()
    second = make_runner(images=images)
    second.start(submitted("r1", ir), log.lease("r1"))
    go.touch()
    assert second.wait(10, R), log.of("r1")
    assert log.of("r1")[-1] == RunEnded("SUCCEEDED")
    assert log.kinds("r1", "a") == ["attempt_started", "task_succeeded"]


def test_what_a_failed_tasks_error_quotes_of_its_log_has_no_secrets(
    runner: Runner, log: EventLog, tmp_path: Path
) -> None:
    ir = pipeline({"a": {"sh": "echo '{{$.inputs.parameters['x']}}'; exit 3", "given": {"x": ""}}})
    ir["root"]["inputDefinitions"] = {"parameters": {"token": {"parameterType": "STRING"}}}
    ir["root"]["dag"]["tasks"]["a"]["inputs"]["parameters"]["x"] = {"componentInputParameter": "token"}
    write_secrets(tmp_path / "runs/r1", {"token": "hunter-2"})
    runner.start(submitted("r1", ir, {"token": "***"}), log.lease("r1"))
    assert runner.wait(20), log.of("r1")
    failed = log.of("r1")[-2]
    assert isinstance(failed, AttemptFailed)
    assert failed.error["details"] == ["***"]
    assert "hunter-2" not in repr(log.of("r1"))


def test_attempts_that_could_not_begin_while_the_cache_did_not_work_leave_nothing_open(
    runner: Runner, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuneline.execute.runner.RECORD_RETRY_S", 0.01)
    left = [True] * 6

    def find(key: str) -> None:
        if left:
            left.pop()
            raise OSError("the record is locked")

    monkeypatch.setattr(log, "find", find)
    before = len(os.listdir("/proc/self/fd"))
    assert _run(runner, log, {"a": {}, "b": {"cached": True}}) == RunEnded("SUCCEEDED")
    assert (left, log.kinds("r1", "a")) == ([], ["attempt_started", "task_succeeded"])
    assert len(os.listdir("/proc/self/fd")) < before + 4


def test_a_run_whose_secrets_are_gone_is_refused_before_a_task_gets_the_mask(
    runner: Runner, log: EventLog
) -> None:
    ir = pipeline({"a": {}})
    ir["root"]["inputDefinitions"] = {"parameters": {"token": {"parameterType": "STRING"}}}
    with pytest.raises(SpecError, match="`token` is not known"):
        runner.start(submitted("r1", ir, {"token": "***"}), log.lease("r1"))
    assert log.of("r1") == []


def test_a_run_that_two_ask_for_at_once_is_taken_once(runner: Runner, log: EventLog) -> None:
    new, lease = submitted("r1", pipeline({"a": {}})), log.lease("r1")
    first, second = runner._load(new, lease), runner._load(new, lease)
    runner._take(first, first.opening())
    with pytest.raises(ConflictError, match="under way"):
        runner._take(second, second.opening())
    assert runner.wait(20)
    assert log.of("r1")[-1] == RunEnded("SUCCEEDED")


def test_the_runner_outlives_what_breaks_in_it(
    runner: Runner, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(Tail, "read", no_memory)
    runner._calls.put(no_memory)
    assert _run(runner, log, {"a": {"sh": "sleep 0.6"}, "b": {"after": ["a"]}}) == RunEnded("SUCCEEDED")
