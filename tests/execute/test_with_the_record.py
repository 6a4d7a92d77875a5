"""The runner over the real record, as the server joins them."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.execute.doubles import IMAGES, children, pipeline, submitted

from tuneline.execute.runner import Runner
from tuneline.record.record import Record
from tuneline.record.runs import NewRun
from tuneline.settings import Settings
from tuneline.types import RunId

pytestmark = pytest.mark.slow


def test_a_run_fails_is_retried_and_is_taken_from_the_cache_over_the_real_record(
    tmp_path: Path, env: Mapping[str, str]
) -> None:
    settings = Settings(home=tmp_path)
    record = Record(settings.record_url)
    record.migrate()
    runs = record.runs
    flag = tmp_path / "flag"
    noop: dict[str, Any] = {"image": "noop", "command": ["{{$}}"], "given": {"x": "1"}, "out": ["out"]}
    ir = pipeline(
        {
            "noop": {**noop, "cached": True},
            "check": {"sh": f"test -e {flag}", "after": ["noop"]},
            "last": {"after": ["check"]},
        }
    )
    runner = Runner(runs, runs, runs, settings, env=env, images=IMAGES)
    runner.start_thread()
    try:
        first, second = RunId("r1"), RunId("r2")
        runs.create(NewRun(first, "one", "p", ir, {}, tasks=children(ir)), time.time())
        runner.start(submitted(first, ir, {}), runs.lease(first))
        assert runner.wait(20)
        assert (runs.get(first)["state"], runs.get(first)["error"]["task"]) == ("FAILED", "check")
        assert [row["state"] for row in runs.tasks(first)] == ["SUCCEEDED", "FAILED", "SKIPPED"]
        assert runs.tasks(first)[0]["progress"]["done"] == 1
        flag.touch()
        runner.retry(submitted(first, ir), runs.lease(first), by="ann")
        assert runner.wait(20)
        assert runs.get(first)["state"] == "SUCCEEDED"
        runs.create(NewRun(second, "two", "p", ir, {}, tasks=children(ir)), time.time())
        runner.start(submitted(second, ir, {}), runs.lease(second))
        assert runner.wait(20)
        assert [row["state"] for row in runs.tasks(second)] == ["CACHED", "SUCCEEDED", "SUCCEEDED"]
    finally:
        runner.stop()
        record.close()
