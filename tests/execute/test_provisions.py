"""What a platform document asks for, as tasks on this machine get it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.execute.conftest import MakeRunner
from tests.execute.doubles import EventLog
from tests.execute.pods import outputs, pipeline, run, shell, started
from tests.kubeflow import TASK_ENV, component

from tuneline.execute.images import MachineImages
from tuneline.execute.quantities import quantity
from tuneline.execute.runner import Runner
from tuneline.settings import Settings

STRING = {"parameterType": "STRING"}


@pytest.fixture
def machine(make_runner: MakeRunner, tmp_path: Path, env: Mapping[str, str]) -> Runner:
    """A runner that runs any image's shell on this machine."""
    settings = Settings(home=tmp_path, task_env=TASK_ENV, images="host")
    return make_runner(images=MachineImages(settings, {**env, "PATH": "/usr/bin:/bin"}))


def write(home: Path, what: str, name: str, mode: int = 0o600, **keys: str) -> None:
    """Files of a secret or a config map."""
    for key, value in keys.items():
        file = home / what / name / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value)
        file.chmod(mode)


def named(name: Any) -> dict[str, Any]:
    return {"runtimeValue": {"constant": name}}


def from_secret(variable: str, key: str, name: Any, **more: Any) -> dict[str, Any]:
    pair = {"secretKey": key, "envVar": variable}
    return {"secretNameParameter": named(name), "keyToEnv": [pair], **more}


def test_secrets_and_config_maps_are_variables(machine: Runner, log: EventLog, tmp_path: Path) -> None:
    write(tmp_path, "secrets", "db", password="s3cr3t-value\n")
    write(tmp_path, "configmaps", "app", level="debug")
    pair = {"configMapKey": "level", "envVar": "LEVEL"}
    platform = {
        "secretAsEnv": [from_secret("PW", "password", "db")],
        "configMapAsEnv": [{"configMapName": "app", "keyToEnv": [pair]}],
    }
    ir = pipeline({"t": shell("printf '%s' ${#PW}-$LEVEL >$0")}, {"t": platform})
    assert run(machine, log, ir).state == "SUCCEEDED"
    assert outputs(log) == {"t": "12-debug"}
    written = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert not [path for path in written if "s3cr3t-value" in path.read_text()]
    assert not any("others may read" in note for note in started(log, "t").notes)


@pytest.mark.parametrize("what", ["the file", "the folder"])
def test_a_secret_that_is_not_there_fails_its_task_and_says_where_it_goes(
    machine: Runner, log: EventLog, tmp_path: Path, what: str
) -> None:
    if what == "the file":
        write(tmp_path, "secrets", "db", user="ann")
    ended = run(
        machine, log, pipeline({"t": shell("true")}, {"t": {"secretAsEnv": [from_secret("PW", "pw", "db")]}})
    )
    assert ended.error is not None
    assert ended.error["message"] == (
        f"Task `t` needs the secret `db` with the key `pw`, which is not at {tmp_path}/secrets/db/pw."
    )
    assert "chmod 600" in ended.error["hint"]
    assert ended.error["retry"] is False


def test_one_that_is_optional_is_left_out(machine: Runner, log: EventLog) -> None:
    platform = {
        "secretAsEnv": [from_secret("PW", "pw", "db", optional=True)],
        "secretAsVolume": [{"secretName": "db", "mountPath": "/s", "optional": True}],
    }
    ir = pipeline({"t": shell("printf '%s' ${PW-unset} >$0")}, {"t": platform})
    assert run(machine, log, ir).state == "SUCCEEDED"
    assert outputs(log) == {"t": "unset"}


def test_a_secret_that_others_may_read_is_noted(machine: Runner, log: EventLog, tmp_path: Path) -> None:
    write(tmp_path, "secrets", "db", mode=0o644, pw="x")
    ir = pipeline({"t": shell("true >$0")}, {"t": {"secretAsEnv": [from_secret("PW", "pw", "db")]}})
    run(machine, log, ir)
    assert (
        f"others may read {tmp_path}/secrets/db/pw: chmod 600 makes it yours alone" in started(log, "t").notes
    )


@pytest.mark.parametrize("name", ["../runs", "a/b", ""])
def test_a_name_is_no_path(machine: Runner, log: EventLog, name: str) -> None:
    ended = run(
        machine, log, pipeline({"t": shell("true")}, {"t": {"secretAsEnv": [from_secret("P", "pw", name)]}})
    )
    assert ended.error is not None
    assert "which is no name" in ended.error["message"]


def test_names_may_be_inputs_of_the_pipeline_or_outputs_of_tasks(
    machine: Runner, log: EventLog, tmp_path: Path
) -> None:
    write(tmp_path, "secrets", "first", pw="1")
    write(tmp_path, "secrets", "second", pw="22")
    output = {"taskOutputParameter": {"producerTask": "a", "outputParameterKey": "Output"}}
    platform = {
        "secretAsEnv": [
            {**from_secret("ONE", "pw", ""), "secretNameParameter": {"componentInputParameter": "name"}},
            {**from_secret("TWO", "pw", ""), "secretNameParameter": output},
            {**from_secret("NONE", "pw", ""), "secretNameParameter": {"componentInputParameter": "nobody"}},
        ]
    }
    containers = {"a": shell("printf second >$0"), "t": shell("printf '%s' $ONE-$TWO-${NONE-} >$0")}
    given = {"name": STRING, "nobody": {**STRING, "isOptional": True}}
    ir = pipeline(containers, {"t": platform}, parameters=given)
    ir["pipeline_spec"]["root"]["dag"]["tasks"]["t"]["dependentTasks"] = ["a"]
    assert run(machine, log, ir, {"name": "first"}).state == "SUCCEEDED"
    assert outputs(log)["t"] == "1-22-"


def test_volumes_are_folders_in_place_of_their_paths(machine: Runner, log: EventLog, tmp_path: Path) -> None:
    """Shell and Python write to the same volume; what is scratch ends with the attempt."""
    write(tmp_path, "secrets", "tls", cert="certificate")
    source = "def f() -> str:\n    print('py', file=open('/data/in/x.txt', 'a'), end='')\n    return 'f'\n"
    mounts = {"pvcMount": [{"pvcNameParameter": named("shared"), "mountPath": "/data"}]}
    old = {"pvcMount": [{"constant": "shared", "mountPath": "/mnt", "subPath": "in"}]}
    more = {
        "secretAsVolume": [{"secretName": "tls", "mountPath": "/etc/tls"}],
        "emptyDirMounts": [{"volumeName": "s", "mountPath": "/scratch"}],
        "genericEphemeralVolume": [{"volumeName": "e", "mountPath": "/eph", "size": "1Gi"}],
    }
    containers = {
        "a": shell("mkdir -p /data/in && printf sh >/data/in/x.txt && echo >$0"),
        "b": component("f", source),
        "c": shell("touch /scratch/1 /eph/2 && cat /mnt/x.txt /etc/tls/cert >$0"),
    }
    ir = pipeline(containers, {"a": mounts, "b": mounts, "c": {**old, **more}})
    tasks = ir["pipeline_spec"]["root"]["dag"]["tasks"]
    tasks["b"]["dependentTasks"], tasks["c"]["dependentTasks"] = ["a"], ["b"]
    ended = run(machine, log, ir)
    assert ended.state == "SUCCEEDED", ended.error
    assert outputs(log)["c"] == "shpycertificate"
    assert (tmp_path / "volumes" / "shared" / "in" / "x.txt").read_text() == "shpy"
    attempt = Path(started(log, "c").folder)
    assert [(attempt / "volumes" / name).exists() for name in ("s/1", "e/2")] == [True, True]
    assert f"/data is the folder {tmp_path}/volumes/shared here" in started(log, "a").notes


def test_a_volume_s_inner_path_stays_inside(machine: Runner, log: EventLog) -> None:
    mount = {"pvcNameParameter": named("v"), "mountPath": "/data", "subPath": "../.."}
    ended = run(machine, log, pipeline({"t": shell("true")}, {"t": {"pvcMount": [mount]}}))
    assert ended.error is not None
    assert "which is not inside it" in ended.error["message"]


@pytest.mark.parametrize("path", ["", "data", "/", "/a:b"])
def test_a_mount_path_is_absolute(machine: Runner, log: EventLog, path: str) -> None:
    mount = {"volumeName": "v", "mountPath": path}
    ended = run(machine, log, pipeline({"t": shell("true")}, {"t": {"emptyDirMounts": [mount]}}))
    assert ended.error is not None
    assert f"`mountPath` is {path!r}" in ended.error["message"]


def test_a_workspace_is_shared_by_the_tasks_of_one_run(
    machine: Runner, log: EventLog, tmp_path: Path
) -> None:
    source = (
        "def f() -> str:\n"
        "    artifact = dsl.Dataset(uri='gs://bucket/x', metadata={'_kfp_workspace': True})\n"
        "    return open('/kfp-workspace/a.txt').read() + ' ' + artifact.path\n"
    )
    containers = {
        "a": shell("printf shared >{{$.workspace_path}}/a.txt && echo >$0"),
        "b": component("f", source),
    }
    ir = pipeline(containers, config={"workspace": {"size": "1Gi"}})
    ir["pipeline_spec"]["root"]["dag"]["tasks"]["b"]["dependentTasks"] = ["a"]
    for id in ("r1", "r2"):
        ended = run(machine, log, ir, id=id)
        assert ended.state == "SUCCEEDED", ended.error
        place = f"{tmp_path}/runs/{id}/workspace/.artifacts/gcs/bucket/x"
        assert outputs(log, id)["b"] == f"shared {place}"


def test_an_importer_copies_into_the_workspace(machine: Runner, log: EventLog, tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "x.txt").write_text("imported")
    uri = str(tmp_path / "given")
    ir = pipeline(
        {"t": shell("cat {{$.inputs.artifacts['d'].path}}/x.txt >$0")}, config={"workspace": {"size": "1Gi"}}
    )
    spec = ir["pipeline_spec"]
    artifact = {"artifactType": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}}
    put_out = {"artifacts": {"artifact": artifact}}
    spec["components"]["comp-i"] = {"executorLabel": "i", "outputDefinitions": put_out}
    spec["deploymentSpec"]["executors"]["i"] = {
        "importer": {"artifactUri": {"constant": uri}, "downloadToWorkspace": True}
    }
    spec["components"]["comp-t"]["inputDefinitions"] = {"artifacts": {"d": artifact}}
    tasks = spec["root"]["dag"]["tasks"]
    tasks["i"] = {"componentRef": {"name": "comp-i"}}
    made = {"producerTask": "i", "outputArtifactKey": "artifact"}
    tasks["t"]["inputs"] = {"artifacts": {"d": {"taskOutputArtifact": made}}}
    ended = run(machine, log, ir)
    assert ended.state == "SUCCEEDED", ended.error
    assert outputs(log)["t"] == "imported"
    copied = tmp_path / "runs" / "r1" / "workspace" / ".artifacts" / uri.lstrip("/") / "x.txt"
    assert copied.read_text() == "imported"


def test_facts_of_a_pod_are_variables(machine: Runner, log: EventLog) -> None:
    fields = {
        "NAME": "metadata.name",
        "SPACE": "metadata.namespace",
        "LABEL": "metadata.labels['team']",
        "RUN": "metadata.labels['pipeline/runid']",
        "NOTE": "metadata.annotations['note']",
        "IP": "status.podIP",
    }
    platform = {
        "podMetadata": {"labels": {"team": "blue"}, "annotations": {"note": "n"}},
        "fieldPathAsEnv": [{"name": name, "fieldPath": path} for name, path in fields.items()],
    }
    script = "printf '%s' \"$NAME $SPACE $LABEL $RUN $NOTE $IP $KFP_POD_NAME\" >$0"
    run(machine, log, pipeline({"t": shell(script)}, {"t": platform}))
    name, *rest, pod = outputs(log)["t"].split()
    assert rest == ["default", "blue", "r1", "n", "127.0.0.1"]
    assert name == pod
    assert name.startswith("tuneline-r1-")


def test_what_nothing_here_does_is_noted(machine: Runner, log: EventLog) -> None:
    container = shell("true >$0")
    container["resources"] = {
        "accelerator": {"type": "nvidia.com/gpu", "count": "2"},
        "resourceCpuLimit": "2",
        "resourceMemoryLimit": "8G",
    }
    platform = {
        "nodeSelector": {"labels": {"disk": "ssd"}},
        "tolerations": [{"key": "preemptible", "operator": "Exists"}],
        "securityContext": {"runAsUser": 0},
    }
    run(machine, log, pipeline({"t": container}, {"t": platform}))
    assert started(log, "t").notes[1:] == (
        "is limited to 2 cores and 8 GB of memory: not heeded here, honoured on Kubernetes",
        "asks to run as user 0: not heeded here, honoured on Kubernetes",
        "asks for 2 x nvidia.com/gpu: not heeded here, honoured on Kubernetes",
        "asks for certain nodes: not heeded here, honoured on Kubernetes",
        "asks for tainted (preemptible) nodes to be allowed: not heeded here, honoured on Kubernetes",
    )


def test_code_that_asks_gets_its_own_settings(machine: Runner, log: EventLog) -> None:
    """Passed on, variables and volumes do not count for the task itself unless it says so."""
    source = (
        "def f(config: dsl.TaskConfig) -> str:\n"
        "    import json, os\n"
        "    found = [config.env, config.resources, config.volume_mounts, config.tolerations]\n"
        "    return json.dumps([*found, os.environ.get('X'), os.environ.get('KFP_POD_NAME') is None])\n"
    )
    container = component("f", source)
    container["env"] = [{"name": "X", "value": "1"}]
    gpu = {"resourceType": "gpu", "resourceCount": "1"}
    container["resources"] = {"resourceCpuLimit": "500m", "accelerator": gpu}
    mount = {"pvcNameParameter": named("v"), "mountPath": "/data"}
    ir = pipeline({"t": container}, {"t": {"pvcMount": [mount]}})
    body = ir["pipeline_spec"]["components"]["comp-t"]
    config = {"parameterType": "TASK_CONFIG", "isOptional": True}
    body["inputDefinitions"] = {"parameters": {"config": config}}
    body["taskConfigPassthroughs"] = [
        {"field": "ENV"},
        {"field": "RESOURCES", "applyToTask": True},
        {"field": "KUBERNETES_VOLUMES"},
    ]
    ended = run(machine, log, ir)
    assert ended.state == "SUCCEEDED", ended.error
    assert json.loads(outputs(log)["t"]) == [
        [{"name": "X", "value": "1"}],
        {"limits": {"cpu": "500m", "gpu": "1"}},
        [{"name": "v", "mountPath": "/data"}],
        None,
        None,
        False,
    ]
    assert not any("/data" in note for note in started(log, "t").notes)


@pytest.mark.parametrize(
    "text, number",
    [
        ("500m", 0.5),
        ("2", 2),
        ("1.5", 1.5),
        ("2k", 2000),
        ("1Ki", 1024),
        ("16Gi", 16 * 2**30),
        ("1e3", 1000),
        ("2G", 2e9),
    ],
)
def test_quantities_are_numbers(text: str, number: float) -> None:
    assert quantity(text) == number


@pytest.mark.parametrize("text", ["", "many", "-1", "1GB", "1 G"])
def test_other_texts_are_no_quantities(text: str) -> None:
    with pytest.raises(ValueError, match="is no quantity"):
        quantity(text)


def test_the_cache_knows_what_a_task_was_given(machine: Runner, log: EventLog, tmp_path: Path) -> None:
    """Another secret is another task; what is done in a workspace is no output that could be taken over."""
    write(tmp_path, "secrets", "one", pw="1")
    write(tmp_path, "secrets", "two", pw="2")

    def ir(secret: str, script: str, *, config: dict[str, Any] | None = None) -> dict[str, Any]:
        platform = {"secretAsEnv": [from_secret("PW", "pw", secret)]}
        found = pipeline({"t": shell(script)}, {"t": platform}, config=config)
        found["pipeline_spec"]["root"]["dag"]["tasks"]["t"]["cachingOptions"] = {"enableCache": True}
        return found

    kinds = []
    for place, secret in enumerate(("one", "two", "one")):
        run(machine, log, ir(secret, "printf $PW >$0"), id=f"s{place}")
        kinds.append(log.kinds(f"s{place}", "t")[-1])
    assert kinds == ["task_succeeded", "task_succeeded", "task_cached"]
    config = {"workspace": {"size": "1Gi"}}
    for id in ("w1", "w2"):
        run(machine, log, ir("one", "touch /kfp-workspace/x && printf $PW >$0", config=config), id=id)
        assert (tmp_path / "runs" / id / "workspace" / "x").exists()
