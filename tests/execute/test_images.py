"""What images mean: refused, processes of this machine, or containers of an engine; and volumes."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.execute.conftest import MakeRunner
from tests.execute.doubles import EventLog, submitted
from tests.execute.pods import OUT, engine, outputs, pipeline, run, shell, started
from tests.kubeflow import TASK_ENV, component

from tuneline.errors import SpecError
from tuneline.execute.images import MachineImages, Mount
from tuneline.execute.images.engine import Engines
from tuneline.execute.images.mapping import PathMap
from tuneline.execute.runner import Runner
from tuneline.plan.events import AttemptFailed
from tuneline.settings import Settings
from tuneline.types import RunId

MakeMachine = Callable[..., Runner]


@pytest.fixture
def machine(make_runner: MakeRunner, tmp_path: Path, env: Mapping[str, str]) -> MakeMachine:
    """Makes a runner whose images are those of this machine; `bin` comes first on its PATH."""

    def make(images: Any = "", bin: Path | None = None) -> Runner:
        # No engine of the machine that runs the tests: what is not ours is only the system's own.
        path = f"{bin or tmp_path / 'none'}:{Path('/usr/bin')}:{Path('/bin')}"
        settings = Settings(home=tmp_path, task_env=TASK_ENV, images=images)
        here = {**env, "PATH": path}
        return make_runner(images=MachineImages(settings, here), env=here)

    return make


def test_without_an_engine_images_are_refused_before_anything_runs(
    machine: MakeMachine, log: EventLog
) -> None:
    ir = pipeline({"a": shell("true"), "b": shell("true", "busybox"), "c": component("f", "def f(): pass")})
    with pytest.raises(SpecError) as refused:
        machine().start(submitted("r1", ir), log.lease("r1"))
    assert refused.value.details == [
        "component `comp-a`: needs the image `alpine:3.20`, and neither podman nor docker answers here",
        "component `comp-b`: needs the image `busybox`, and neither podman nor docker answers here",
    ]
    assert "--images host" in refused.value.hint
    assert log.of("r1") == []


def test_a_run_may_be_allowed_what_others_are_not(machine: MakeMachine, log: EventLog) -> None:
    runner, ir = machine(), pipeline({"a": shell("printf hello >$0")})
    runner.start(replace(submitted("r1", ir), images="host"), log.lease("r1"))
    assert runner.wait(20, RunId("r1"))
    assert outputs(log) == {"a": "hello"}
    with pytest.raises(SpecError):
        runner.start(submitted("r2", ir), log.lease("r2"))


def test_on_the_host_a_shell_is_a_process_of_this_machine(machine: MakeMachine, log: EventLog) -> None:
    ir = pipeline({"a": shell("printf hello >$0")})
    assert run(machine("host"), log, ir).state == "SUCCEEDED"
    assert outputs(log) == {"a": "hello"}
    assert started(log, "a").notes == ("asks for the image alpine:3.20; ran as a process of this machine",)


def test_on_the_host_python_runs_in_the_task_environment(machine: MakeMachine, log: EventLog) -> None:
    source = "def f() -> str:\n    import sys\n    return sys.prefix\n"
    script = "import sys, typing_extensions; open(sys.argv[1], 'w').write('b')"
    ir = pipeline(
        {
            "a": component("f", source, image="tensorflow/tensorflow:2.16"),
            "b": {
                "image": "tools",
                "command": ["python3", "-c", script],
                "args": [OUT],
            },
        }
    )
    assert run(machine("host"), log, ir).state == "SUCCEEDED"
    assert outputs(log) == {"a": str(TASK_ENV), "b": "b"}


def test_on_the_host_what_is_not_here_is_refused(machine: MakeMachine, log: EventLog) -> None:
    ir = pipeline(
        {
            "a": {"image": "our/tool:1", "command": ["no-such-tool", "info"]},
            "b": {"image": "my/own"},
            "c": {"image": "my/it", "command": ["python3", "-m", "kfp.dsl.executor_main"]},
        }
    )
    with pytest.raises(SpecError) as refused:
        machine("host").start(submitted("r1", ir), log.lease("r1"))
    assert refused.value.details == [
        "component `comp-a`: `no-such-tool` of the image `our/tool:1` is not on this machine",
        "component `comp-b`: the image `my/own` runs what it holds itself, which is not on this machine",
        "component `comp-c`: the source of its Python component is in the image `my/it`, which is not here",
    ]


def test_an_engine_runs_the_container_with_its_mounts_and_limits(
    machine: MakeMachine, log: EventLog, tmp_path: Path
) -> None:
    asked = engine(tmp_path / "bin")
    container = shell('printf %s "$WORD" >$0', resources={"resourceCpuLimit": "500m", "memoryLimit": 2.0})
    container["env"] = [{"name": "WORD", "value": "from the environment"}]
    platform = {
        "a": {
            "imagePullPolicy": "IfNotPresent",
            "securityContext": {"runAsUser": "1000", "runAsGroup": "100"},
            "emptyDirMounts": [{"volumeName": "scratch", "mountPath": "/scratch"}],
            "enabledSharedMemory": {"volumeName": "shm", "size": "1Gi"},
        }
    }
    assert run(machine(bin=tmp_path / "bin"), log, pipeline({"a": container}, platform)).state == "SUCCEEDED"
    assert outputs(log) == {"a": "from the environment"}
    info, start, end = asked.read_text().splitlines()
    folder = Path(started(log, "a").folder)
    assert info == "info"
    assert start.startswith("run --rm --init --name tuneline-r1-")
    assert f"--volume {folder}:{folder} " in start
    assert f"--volume {folder}/volumes/scratch:/scratch " in start
    assert "--env WORD " in start
    assert "from the environment" not in start
    assert "--cpus 0.5 --memory 2000000000 --shm-size 1073741824 --pull missing --user 1000:100" in start
    assert f'--entrypoint sh alpine:3.20 -c printf %s "$WORD" >$0 {folder}/parameters/Output' in start
    assert end == "rm --force " + start.split()[4]
    assert started(log, "a").notes == ("ran with podman",)


def test_inputs_are_mounted_to_be_read(machine: MakeMachine, log: EventLog, tmp_path: Path) -> None:
    asked = engine(tmp_path / "bin", "docker")
    (tmp_path / "data.txt").write_text("imported")
    ir = pipeline({"a": shell("cat {{$.inputs.artifacts['data'].path}} >$0")})
    spec = ir["pipeline_spec"]
    artifact = {"artifactType": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}}
    spec["components"]["comp-a"]["inputDefinitions"] = {"artifacts": {"data": artifact}}
    uri = {"parameters": {"uri": {"parameterType": "STRING"}}}
    spec["components"]["comp-i"] = {
        "executorLabel": "exec-i",
        "inputDefinitions": uri,
        "outputDefinitions": {"artifacts": {"artifact": artifact}},
    }
    path = str(tmp_path / "data.txt")
    spec["deploymentSpec"]["executors"]["exec-i"] = {"importer": {"artifactUri": {"constant": path}}}
    given = {"parameters": {"uri": {"runtimeValue": {"constant": path}}}}
    spec["root"]["dag"]["tasks"]["i"] = {"componentRef": {"name": "comp-i"}, "inputs": given}
    source = {"producerTask": "i", "outputArtifactKey": "artifact"}
    spec["root"]["dag"]["tasks"]["a"]["inputs"] = {"artifacts": {"data": {"taskOutputArtifact": source}}}
    assert run(machine(bin=tmp_path / "bin"), log, ir).state == "SUCCEEDED"
    assert outputs(log)["a"] == "imported"
    assert f"--volume {path}:{path}:ro " in asked.read_text()


def test_a_canceled_container_is_removed(machine: MakeMachine, log: EventLog, tmp_path: Path) -> None:
    asked = engine(tmp_path / "bin")
    runner = machine(bin=tmp_path / "bin")
    ir = pipeline(
        {"a": shell("echo up; trap 'echo asked to end; exit 0' TERM; while :; do sleep 0.05; done")}
    )
    runner.start(submitted("r1", ir), log.lease("r1"))
    _wait(lambda: "up" in _log(log))
    runner.cancel(RunId("r1"), by="ann")
    assert runner.wait(20, RunId("r1"))
    assert "asked to end" in _log(log)
    assert asked.read_text().splitlines()[-1].startswith("rm --force tuneline-r1-")


def test_a_container_whose_shim_was_killed_is_removed_before_the_next_attempt(
    machine: MakeMachine, log: EventLog, tmp_path: Path
) -> None:
    asked = engine(tmp_path / "bin")
    runner = machine(bin=tmp_path / "bin")
    script = f"if [ -e {tmp_path}/again ]; then printf done >$0; else touch {tmp_path}/again; sleep 60; fi"
    runner.start(submitted("r1", pipeline({"a": shell(script)})), log.lease("r1"))
    _wait(lambda: (tmp_path / "again").exists())
    os.kill(started(log, "a").pid, signal.SIGKILL)
    assert runner.wait(20, RunId("r1"))
    lost = next(event for event in log.of("r1") if isinstance(event, AttemptFailed))
    assert lost.lost
    words = [line.split()[0] for line in asked.read_text().splitlines()]
    assert words == ["info", "run", "rm", "run", "rm"]


def test_an_engine_that_does_not_answer_is_none_and_is_asked_again_later(tmp_path: Path) -> None:
    now = [0.0]
    asked = engine(tmp_path, "docker", answers=False)
    engines = Engines(str(tmp_path), lambda: now[0])
    assert engines.get() is None
    assert engines.get() is None
    assert asked.read_text() == "info\n"
    now[0] = 60.0
    engine(tmp_path, "docker")
    found = engines.get()
    assert found is not None
    assert found.name == "docker"


def test_with_containers_python_too_is_left_to_the_engine(machine: MakeMachine, log: EventLog) -> None:
    ir = pipeline({"a": component("f", "def f() -> str:\n    return 'x'\n")})
    with pytest.raises(SpecError) as refused:
        machine("containers").start(submitted("r1", ir), log.lease("r1"))
    assert "(only containers are allowed)" in refused.value.details[0]


def test_an_image_named_at_run_time_is_looked_at_then(machine: MakeMachine, log: EventLog) -> None:
    given = {"image": {"parameterType": "STRING"}}
    ir = pipeline({"a": shell("true", "{{$.inputs.parameters['image']}}")}, parameters=given)
    task = ir["pipeline_spec"]["root"]["dag"]["tasks"]["a"]
    task["inputs"] = {"parameters": {"image": {"componentInputParameter": "image"}}}
    ir["pipeline_spec"]["components"]["comp-a"]["inputDefinitions"] = {"parameters": given}
    ended = run(machine(), log, ir, {"image": "busybox"})
    assert ended.state == "FAILED"
    assert ended.error is not None
    assert "needs the image `busybox`, and neither podman nor docker answers here" in ended.error["message"]


# Volumes


def volume(image: str, **given: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A component that makes or deletes a volume, and its task's inputs."""
    inputs = {
        name: {"parameterType": "STRING", "isOptional": True} for name in ("pvc_name", "pvc_name_suffix")
    }
    body = {"inputDefinitions": {"parameters": inputs}}
    if image == "createpvc":
        body["outputDefinitions"] = {"parameters": {"name": {"parameterType": "STRING"}}}
    return body, {name: {"runtimeValue": {"constant": value}} for name, value in given.items()}


def volumes(*steps: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """A pipeline of such tasks, one after the other."""
    spec = pipeline({})["pipeline_spec"]
    before: list[str] = []
    for place, (image, given) in enumerate(steps):
        name = f"step-{place}"
        body, inputs = volume(image, **given)
        spec["components"][name] = {**body, "executorLabel": name}
        spec["deploymentSpec"]["executors"][name] = {"container": {"image": f"argostub/{image}"}}
        task = {"componentRef": {"name": name}, "inputs": {"parameters": inputs}, "dependentTasks": before}
        spec["root"]["dag"]["tasks"][name] = {**task, "cachingOptions": {"enableCache": True}}
        before = [name]
    return spec


def test_a_volume_is_made_once_and_deleted(machine: MakeMachine, log: EventLog, tmp_path: Path) -> None:
    runner = machine()
    ir = volumes(("createpvc", {"pvc_name": "data"}))
    assert run(runner, log, ir).state == "SUCCEEDED"
    assert (tmp_path / "volumes" / "data").is_dir()
    again = run(runner, log, ir, id="r2")
    assert again.error is not None
    assert "The volume `data` is there already" in again.error["details"][-1]
    delete = volumes(("deletepvc", {"pvc_name": "data"}))
    assert run(runner, log, delete, id="r3").state == "SUCCEEDED"
    assert not (tmp_path / "volumes" / "data").exists()
    gone = run(runner, log, delete, id="r4")
    assert gone.error is not None
    assert "There is no volume `data` to delete" in gone.error["details"][-1]


def test_a_volume_by_suffix_has_its_own_name(machine: MakeMachine, log: EventLog, tmp_path: Path) -> None:
    runner = machine()
    for id in ("r1", "r2"):
        assert (
            run(runner, log, volumes(("createpvc", {"pvc_name_suffix": "-data"})), id=id).state == "SUCCEEDED"
        )
    made = sorted(path.name for path in (tmp_path / "volumes").iterdir() if path.name != ".owners")
    assert [name[:12] for name in made] == ["tuneline-r1-", "tuneline-r2-"]
    assert all(name.endswith("-data") for name in made)


@pytest.mark.parametrize("name", ["../out", "a/b", ".hidden", ""])
def test_a_volume_s_name_is_no_path(machine: MakeMachine, log: EventLog, tmp_path: Path, name: str) -> None:
    ended = run(machine(), log, volumes(("deletepvc", {"pvc_name": name})))
    assert ended.error is not None
    assert "is no name of a volume" in ended.error["details"][-1]


# Paths


@pytest.mark.parametrize(
    "text, mapped",
    [
        ("/data", "/home/v/d"),
        ("cat /data/x.txt", "cat /home/v/d/x.txt"),
        ("open('/data/x')", "open('/home/v/d/x')"),
        ("--dir=/data/sub", "--dir=/home/v/d/sub"),
        ("/data-set /data2 /data.txt", "/data-set /data2 /data.txt"),
        ("gs://bucket/data https://host/data", "gs://bucket/data https://host/data"),
        ("/other/data ./data ${HOME}/data", "/other/data ./data ${HOME}/data"),
        ("/data/deep/y", "/home/v/e/y"),
        ("/home/runs/data /home/data/x", "/home/runs/data /home/data/x"),
    ],
)
def test_paths_of_mounts_are_replaced_where_they_stand_alone(text: str, mapped: str) -> None:
    mounts = [Mount(Path("/home/v/d"), "/data/"), Mount(Path("/home/v/e"), "/data/deep")]
    assert PathMap(mounts, Path("/home")).text(text) == mapped


def test_paths_below_the_home_stay_even_under_a_mount_that_holds_it() -> None:
    paths = PathMap([Mount(Path("/tmp/home/v"), "/tmp")], Path("/tmp/home"))
    assert (
        paths.text("/tmp/x /tmp/home/runs/1 /tmp/home2") == "/tmp/home/v/x /tmp/home/runs/1 /tmp/home/v/home2"
    )


def _log(log: EventLog) -> str:
    for event in log.of("r1"):
        if event.kind == "attempt_started":
            return (Path(started(log, "a").folder) / "log.txt").read_text()
    return ""


def _wait(held: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not held() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert held()
