"""The process executor's care for what an earlier attempt left running, in Airflow's own interpreter."""

import subprocess
from pathlib import Path

import pytest
from tests.airflow.world import PYTHON, environment

PROGRAM = """
import subprocess, sys
from pathlib import Path
from tuneline_airflow import process
state = Path(sys.argv[1])
words = ["sh", "-c", "trap '' TERM; sleep 60 & echo $! > %s; wait" % (state / "child")]
left = subprocess.Popen(words, start_new_session=True)
while not (state / "child").exists() or not (state / "child").read_text():
    pass
process._note(state, left.pid)
process.GRACE_S = 0.2
process.end_earlier(state)
child = int((state / "child").read_text())
assert left.poll() is not None or left.wait(5) < 0
assert not process._alive(left.pid), "a process of the group lives"
other = subprocess.Popen(["sleep", "60"], start_new_session=True)
(state / "process.json").write_text('{"pid": %d, "started": "1"}' % other.pid)
process.end_earlier(state)
assert other.poll() is None, "another process with the same pid was ended"
other.kill()
other.wait()
assert not any(map(process._is_airflows, ("PATH", "TUNELINE_URL", "HF_TOKEN")))
assert all(map(process._is_airflows, ("AIRFLOW__CORE__FERNET_KEY", "PYTHONPATH")))
print("ended")
"""


@pytest.mark.slow
def test_what_an_earlier_attempt_left_is_ended_and_nothing_else(tmp_path: Path):
    done = subprocess.run(
        [str(PYTHON), "-c", PROGRAM, str(tmp_path)],
        env=environment(tmp_path), capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert "ended" in done.stdout, done.stderr[-3000:]
