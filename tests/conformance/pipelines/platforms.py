"""Platform documents: secrets, config maps, volumes, timeouts, fields of the pod, scheduling, workspace."""

from typing import Optional

from kfp import dsl, kubernetes
from tests.conformance.pipelines.common import case, component, echo


@component
def seen(names: list, paths: list) -> list:
    """Environment variables and the texts of files."""
    import os

    found = [os.environ.get(name) for name in names]
    return found + [open(path).read() if os.path.exists(path) else None for path in paths]


@case(
    parameters={"secret": "login"},
    tasks={"seen": "SUCCEEDED"},
    outputs={"Output": ["ann", "s3cret", "blue", None]},
)
@dsl.pipeline(name="secrets-and-config-maps-as-variables")
def as_env(secret: str) -> list:
    task = seen(names=["USER_NAME", "USER_WORD", "COLOR", "ABSENT"], paths=[])
    kubernetes.use_secret_as_env(task, secret, {"user": "USER_NAME"})
    kubernetes.use_secret_as_env(task, "login", {"password": "USER_WORD"})
    kubernetes.use_config_map_as_env(task, "settings", {"color": "COLOR"})
    kubernetes.use_secret_as_env(task, "no-such-secret", {"a": "ABSENT"}, optional=True)
    return task.output


@case(
    state="FAILED",
    tasks={"echo": "FAILED"},
    errors={"echo": "no-such-secret"},
)
@dsl.pipeline(name="a-secret-that-is-missing")
def missing_secret():
    kubernetes.use_secret_as_env(echo(text="x"), "no-such-secret", {"a": "A"})


@component
def mounted(folder: str, names: list) -> list:
    """What is found under a mount path."""
    import os

    return [open(os.path.join(folder, name)).read() for name in names]


@case(
    tasks={"mounted": "SUCCEEDED", "mounted-2": "SUCCEEDED"},
    task_outputs={"mounted": {"Output": ["ann", "s3cret"]}, "mounted-2": {"Output": ["blue"]}},
)
@dsl.pipeline(name="secrets-and-config-maps-as-files")
def as_volume():
    first = mounted(folder="/mnt/tuneline-login", names=["user", "password"])
    kubernetes.use_secret_as_volume(first, "login", "/mnt/tuneline-login")
    second = mounted(folder="/mnt/tuneline-settings", names=["color"])
    kubernetes.use_config_map_as_volume(second, "settings", "/mnt/tuneline-settings")


@component
def leave(path: str, text: str):
    """Write a file."""
    with open(path, "w") as file:
        file.write(text)


@component
def find(path: str) -> str:
    """Read a file."""
    return open(path).read()


@case(
    tasks={
        "createpvc": "SUCCEEDED",
        "leave": "SUCCEEDED",
        "find": "SUCCEEDED",
        "deletepvc": "SUCCEEDED",
    },
    outputs={"Output": "kept"},
    task_outputs={"createpvc": {"name": {"$match": "-work$"}}},
)
@dsl.pipeline(name="a-volume-between-tasks")
def volume() -> str:
    claim = kubernetes.CreatePVC(
        pvc_name_suffix="-work", access_modes=["ReadWriteOnce"], size="1Gi", storage_class_name="standard"
    )
    left = leave(path="/mnt/tuneline-work/a.txt", text="kept")
    kubernetes.mount_pvc(left, claim.outputs["name"], "/mnt/tuneline-work")
    found = find(path="/mnt/tuneline-work/a.txt").after(left)
    kubernetes.mount_pvc(found, claim.outputs["name"], "/mnt/tuneline-work")
    kubernetes.DeletePVC(pvc_name=claim.outputs["name"]).after(found)
    return found.output


@component
def sleep(seconds: float):
    """Take a while."""
    import time

    time.sleep(seconds)


@case(state="FAILED", tasks={"sleep": "FAILED"}, errors={"sleep": "1"})
@dsl.pipeline(name="a-timeout")
def timeout():
    kubernetes.set_timeout(sleep(seconds=30.0), 1)


@case(
    tasks={"seen": "SUCCEEDED"},
    outputs={"Output": ["label one", "note", "", {"$match": "."}, {"$match": "."}]},
)
@dsl.pipeline(name="fields-of-the-pod")
def fields() -> list:
    task = seen(names=["LABEL", "NOTE", "NONE", "POD", "NAMESPACE"], paths=[])
    kubernetes.add_pod_label(task, "kind", "label one")
    kubernetes.add_pod_annotation(task, "note", "note")
    kubernetes.use_field_path_as_env(task, "LABEL", "metadata.labels['kind']")
    kubernetes.use_field_path_as_env(task, "NOTE", "metadata.annotations['note']")
    kubernetes.use_field_path_as_env(task, "NONE", "metadata.labels['other']")
    kubernetes.use_field_path_as_env(task, "POD", "metadata.name")
    kubernetes.use_field_path_as_env(task, "NAMESPACE", "metadata.namespace")
    return task.output


@case(
    parameters={"where": {"kind": "disk"}},
    tasks={"echo": "SUCCEEDED"},
    outputs={"Output": "anyway"},
)
@dsl.pipeline(name="scheduling-hints")
def scheduling(where: dict, tolerations: Optional[list] = None) -> str:
    task = echo(text="anyway")
    kubernetes.add_node_selector_json(task, where)
    kubernetes.add_toleration(task, key="gpu", operator="Equal", value="true", effect="NoSchedule")
    kubernetes.add_toleration_json(task, tolerations)
    kubernetes.add_node_affinity(
        task, match_expressions=[{"key": "disk", "operator": "In", "values": ["ssd"]}], weight=10
    )
    kubernetes.set_image_pull_policy(task, "Always")
    kubernetes.set_image_pull_secrets(task, ["registry"])
    kubernetes.set_security_context(task, run_as_user=1000)
    kubernetes.add_ephemeral_volume(task, "scratch", "/mnt/tuneline-scratch", ["ReadWriteOnce"], "1Gi")
    kubernetes.empty_dir_mount(task, "empty", "/mnt/tuneline-empty")
    return task.output


@case(state="FAILED", tasks={"sleep": "CANCELED"}, errors={"": "longer than the 1 s"})
@dsl.pipeline(
    name="a-deadline-for-the-run",
    pipeline_config=dsl.PipelineConfig(active_deadline_seconds=1, ttl_seconds_after_finished=60),
)
def deadline():
    sleep(seconds=30.0)


@component
def both(folder: str, data: dsl.Input[dsl.Dataset]) -> list:
    """Where an imported file lies, and what it holds."""
    return [data.path.startswith(folder), open(data.path).read()]


@case(
    parameters={"words": "{shared}/words.txt"},
    tasks={"leave": "SUCCEEDED", "importer": "SUCCEEDED", "both": "SUCCEEDED", "find": "SUCCEEDED"},
    outputs={"Output": "in the workspace"},
    task_outputs={"both": {"Output": [True, "shared words"]}},
)
@dsl.pipeline(
    name="the-workspace",
    pipeline_config=dsl.PipelineConfig(workspace=dsl.WorkspaceConfig(size="1Gi")),
)
def workspace(words: str) -> str:
    left = leave(path=dsl.WORKSPACE_PATH_PLACEHOLDER + "/a.txt", text="in the workspace")
    imported = dsl.importer(artifact_uri=words, artifact_class=dsl.Dataset, download_to_workspace=True)
    both(folder=dsl.WORKSPACE_PATH_PLACEHOLDER, data=imported.output).after(left)
    return find(path=f"{dsl.WORKSPACE_PATH_PLACEHOLDER}/a.txt").after(left).output
