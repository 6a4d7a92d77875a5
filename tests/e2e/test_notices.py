"""A whole line tells what its gate said and what went live, to a real webhook and to who follows it."""

import pytest
from tests.control.services import webhook
from tests.e2e.test_own_code import write
from tests.e2e.world import World, wait_for
from tests.kubeflow import TASK_ENV

pytestmark = pytest.mark.slow


def test_a_run_tells_its_verdict_with_the_table_and_then_that_it_is_live(tmp_path):
    with webhook() as hook:
        project = write(tmp_path / "moods")
        with (project / "tuneline.yaml").open("a") as file:
            file.write("notify: ${HOOK}\n")
        world = World(tmp_path / "home", TUNELINE_TASK_ENV=str(TASK_ENV), HOOK=f"{hook.url}/s3cret-hook")
        try:
            ended = world.cli("run", str(project))
            assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}\n{world.logs()}"
            wait_for(lambda: len(hook.seen) == 2, timeout_s=120, said=world.logs)
        finally:
            world.close()
    assert hook.titles() == ["moods@1.0.0 passed its gate", "moods@1.0.0 is live at moods"]
    said = hook.seen[0][1]["message"]
    assert "accuracy >= 0.7" in said
    assert "noninferior(word_error, live, margin=0.1)" in said
    assert "word_error" in said.partition("metric")[2]
    assert "notice: moods@1.0.0 passed its gate" in ended.stderr
    assert "notice: moods@1.0.0 is live at moods" in ended.stderr
    assert "s3cret-hook" not in ended.stdout + ended.stderr + world.logs()
    assert not any(b"s3cret-hook" in path.read_bytes() for path in world.home.rglob("*") if path.is_file())
