"""The carrier: a pod's inputs, outputs and results, on a real S3 server; and a training that is killed.

The slow tests start the programs as a pod does, `take` beside a training on a tiny model: 15 s.
"""

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zlib

import pytest
from tests.steps.stepping import run_step, start_step
from tests.tiny import movie_rows, tiny_base, write_split

from tuneline.execute import carrying, objects
from tuneline.steps import carry


@pytest.fixture
def bucket(s3, tmp_path):
    s3.left = 0
    return f"s3://lines/{tmp_path.name}"


@pytest.fixture
def pod(tmp_path):
    folder = tmp_path / "pod"
    folder.mkdir()
    return folder


def ended():
    event = threading.Event()
    event.set()
    return event


def no_pause(seconds):
    pass


def test_inputs_folders_and_no_checkpoint(bucket, pod, tmp_path, capsys):
    (tmp_path / "rows.csv").write_text("a,b\n")
    carrying.put(tmp_path / "rows.csv", f"{bucket}/rows")
    carry.bring(
        {
            "inputs": [
                {"name": "rows", "uri": f"{bucket}/rows", "path": str(pod / "inputs" / "rows")},
                {"name": "table", "uri": "bigquery://a.b.c", "path": str(pod / "inputs" / "table")},
            ],
            "folders": [str(pod / "outputs"), str(pod / "home")],
            "checkpoints": {"uri": f"{bucket}/state", "path": str(pod / "state" / "checkpoints")},
        },
        no_pause,
    )
    assert (pod / "inputs" / "rows").read_text() == "a,b\n"
    assert not (pod / "inputs" / "table").exists()
    assert (pod / "outputs").stat().st_mode & 0o777 == 0o777
    said = capsys.readouterr().err
    assert "input rows: 1 file" in said
    assert "the task begins anew" in said


def order_of(bucket, pod, **more):
    return {
        "outputs": [
            {"name": "model", "uri": f"{bucket}/1/model", "path": str(pod / "model")},
            {"name": "plain", "uri": f"{bucket}/1/plain", "path": str(pod / "plain")},
            {"name": "unmade", "uri": f"{bucket}/1/unmade", "path": str(pod / "unmade")},
        ],
        "parameters": {"rows": str(pod / "parameters" / "rows"), "loss": str(pod / "parameters" / "loss")},
        "output_file": str(pod / "executor_output.json"),
        "every_s": 0.05,
        "message": str(pod / "message"),
        **more,
    }


def made(pod):
    (pod / "model").mkdir()
    (pod / "model" / "weights").write_bytes(b"w" * 1000)
    (pod / "plain").write_text("plain")
    (pod / "elsewhere").write_text("of another place")
    (pod / "parameters").mkdir()
    (pod / "parameters" / "rows").write_text("7")
    said = {
        "parameterValues": {"loss": 0.5},
        "artifacts": {
            "model": {
                "artifacts": [
                    {"name": "model", "uri": str(pod / "model"), "metadata": {"r": 8}},
                    {"name": "more", "uri": str(pod / "elsewhere")},
                    {"name": "table", "uri": "bigquery://a.b.c"},
                ]
            }
        },
    }
    (pod / "executor_output.json").write_text(json.dumps(said))


def test_outputs_get_their_places_and_what_is_only_a_name_keeps_it(bucket, pod, tmp_path):
    made(pod)
    found = carry.take(order_of(bucket, pod), ended())
    assert found == {
        "values": {"loss": 0.5},
        "files": {"rows": "7"},
        "artifacts": {
            "model": [
                {"name": "model", "uri": f"{bucket}/1/model", "metadata": {"r": 8}},
                {"name": "more", "uri": f"{bucket}/1/model/1"},
                {"name": "table", "uri": "bigquery://a.b.c"},
            ],
            "plain": [{"name": "plain", "uri": f"{bucket}/1/plain"}],
            "unmade": [{"name": "unmade", "uri": f"{bucket}/1/unmade"}],
        },
        "error": None,
    }
    carrying.get(f"{bucket}/1/model", tmp_path / "there")
    assert (tmp_path / "there" / "weights").read_bytes() == b"w" * 1000
    carrying.get(f"{bucket}/1/unmade", tmp_path / "not there")
    assert not (tmp_path / "not there").exists()


def test_a_task_that_failed_leaves_what_it_made_and_its_error(bucket, pod):
    (pod / "plain").write_text("half")
    (pod / "error.json").write_text('{"code": "data", "message": "No rows.", "hint": "", "retry": false}')
    found = carry.take(order_of(bucket, pod), ended())
    assert found["error"]["message"] == "No rows."
    assert found["values"] == found["files"] == {}
    assert [each.relative for each in objects.find(f"{bucket}/1/plain")] == [""]


def test_a_result_that_is_short_is_the_message_and_a_long_one_is_printed_and_signed():
    short = {"values": {"a": 1}, "files": {}, "artifacts": {}, "error": None}
    assert carry.signed(short, 2048, pytest.fail) == {"ok": True, "result": short}
    lines = []
    long = {**short, "files": {"text": os.urandom(20_000).hex()}}
    message = carry.signed(long, 2048, lines.append)
    assert message["lines"] == len(lines) > 2
    parts = [line.split(" ") for line in lines]
    assert [(word, int(number)) for word, number, _ in parts] == [(carry.LINE, n) for n in range(len(lines))]
    packed = base64.b64decode("".join(part for _, _, part in parts))
    assert json.loads(zlib.decompress(packed)) == long
    assert all(len(line) < 16_000 for line in lines)


@pytest.mark.slow
def test_what_may_pass_is_tried_again_and_what_may_not_is_the_message(bucket, pod, s3, capsys):
    assert carry.main_bring(order_of(bucket, pod, inputs=[missing(bucket, pod)])) == 1
    message = json.loads((pod / "message").read_text())
    assert message["ok"] is False
    assert message["error"]["code"] == "not_found"
    assert f"{bucket}/none" in message["error"]["message"]
    assert "Traceback" not in capsys.readouterr().err
    (pod / "rows").write_text("rows")
    carrying.put(pod / "rows", f"{bucket}/rows")
    s3.left = 12
    pauses = []
    carry.bring({"inputs": [{"name": "a", "uri": f"{bucket}/rows", "path": str(pod / "a")}]}, pauses.append)
    assert pauses
    assert (pod / "a").read_text() == "rows"


def missing(bucket, pod):
    return {"name": "x", "uri": f"{bucket}/none", "path": str(pod / "x")}


def test_a_step_that_is_the_first_process_of_its_container_ends_when_it_is_asked_to():
    """In a child that is told it is number 1: the kernel itself would have to be asked for a real one."""
    code = "import os, time; from tuneline.steps.main import heed_sigterm as heed; heed(1); "
    code += "os.kill(os.getpid(), 15); time.sleep(9)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 143


RECIPE = {
    "r": 4, "lora_alpha": 8, "lora_dropout": 0.05, "learning_rate": 1e-2, "per_device_train_batch_size": 8.0,
    "num_train_epochs": 2.0, "gradient_accumulation_steps": 2, "save_steps": 5, "dtype": "float32", "seed": 7,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["evicted", "node lost"])
def test_a_pod_that_is_lost_goes_on_from_the_last_checkpoint_in_the_bucket(bucket, trained, tmp_path, number):
    """SIGTERM to the task, then to the carrier, as an eviction does; SIGKILL to both as a lost node."""
    world, whole = trained
    first, second = tmp_path / "first", tmp_path / "second"
    step = start_step("tune", first / "task", RECIPE, inputs(world), first / "state")
    carrier = start_take(bucket, first, "1-0")
    with step.process, carrier:
        try:
            wait_for(lambda: (first / "state" / "checkpoints").glob("*[0-9]"), step)
            step.process.send_signal(signal.SIGSTOP)  # else it ends before a busy machine has copied anything
            wait_for(lambda: in_bucket(bucket), step)
            step.process.send_signal(number)
            step.process.send_signal(signal.SIGCONT)
            assert step.process.wait() == -number
            carrier.send_signal(number)
            said, _ = carrier.communicate(timeout=60)
        finally:
            step.process.kill()
            carrier.kill()
    if number == signal.SIGTERM:
        assert carrier.returncode == 0, said
        assert json.loads((first / "message").read_text())["result"]["values"] == {}

    order = {"checkpoints": checkpoints(bucket, second, "1-1")}
    command = [*CARRY, "in", "--order", json.dumps(order)]
    back = subprocess.run(command, capture_output=True, text=True, check=False)
    assert back.returncode == 0, back.stderr
    name = next((second / "state" / "checkpoints").iterdir()).name
    last = run_step("tune", second / "task", RECIPE, inputs(world), second / "state")
    notes = [event["message"] for event in last.events() if event["type"] == "note"]
    assert notes == [f"Going on from step {int(name)}."]
    for path in whole.out("adapter").iterdir():
        assert (last.out("adapter") / path.name).read_bytes() == path.read_bytes(), path.name
    losses = [json.loads(each.out("metrics").read_text())["final_loss"] for each in (whole, last)]
    assert losses[0] == losses[1]


CARRY = [sys.executable, "-m", "tuneline", "carry"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A base, rows, and a training that nothing interrupted."""
    world = tmp_path_factory.mktemp("carried")
    tiny_base(world / "base", "gemma3")
    write_split(world / "train", movie_rows(400))
    (world / "none").mkdir()
    return world, run_step("tune", world / "whole", RECIPE, inputs(world))


def inputs(world):
    return {"base": world / "base", "train": world / "train", "init": world / "none"}


def checkpoints(bucket, folder, who):
    return {"uri": f"{bucket}/state", "path": str(folder / "state" / "checkpoints"), "who": who}


def start_take(bucket, folder, who):
    order = order_of(bucket, folder, checkpoints=checkpoints(bucket, folder, who))
    command = [*CARRY, "out", "--order", json.dumps(order)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def in_bucket(bucket):
    """Receipts of checkpoints that are whole there."""
    return [each for each in objects.find(f"{bucket}/state") if each.relative.endswith(carrying.SUFFIX)]


def wait_for(found, step):
    """Until there is any, while the step runs."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and step.process.poll() is None:
        if any(True for _ in found()):
            return
        time.sleep(0.01)
    raise AssertionError("it ended, or nothing got there in time")
