"""The real clients, in the flows their users have; what they show of a refusal is compared here."""

import io
import json
import tarfile
import zipfile

import pytest
import yaml

pytestmark = pytest.mark.slow


def test_a_pipeline_function_is_run_and_waited_for(url, sdk, http):
    run = sdk("run_from_function", url)
    tasks = {task["display_name"]: task for task in run["run_details"]["task_details"]}
    wrote, read = tasks["write"], tasks["read"]
    (made,) = wrote["outputs"]["made"]["artifact_ids"]
    assert read["inputs"] == {"made": {"artifact_ids": [made]}}
    assert [entry["state"] for entry in run["state_history"]] == ["PENDING", "RUNNING", "SUCCEEDED"]
    assert run["pipeline_spec"]["root"]["inputDefinitions"]["parameters"]["count"]["defaultValue"] == 2.0
    assert run["runtime_config"] == {"parameters": {"text": "hi"}}
    artifact = http.get(f"/artifacts/{made}").json()
    assert (artifact["name"], artifact["type"]) == ("made", "Dataset")
    assert http.get(f"/artifacts/{made}:download").content == b"hi"


def refused(answer, status, code, words):
    """KFP's error body."""
    body = answer["body"]
    assert (answer["status"], body["code"]) == (status, code), answer
    assert words in body["message"]
    detail = {"@type": "type.googleapis.com/google.rpc.Status", "code": code, "message": body["message"]}
    assert body["details"] == [detail]


def test_pipelines_and_versions_are_uploaded_listed_and_deleted(url, sdk):
    shown = sdk("pipelines_and_versions", url)
    assert shown["again"]["status"] == 409
    assert set(shown["again"]["body"]) == {"error_message", "error_details"}
    refused(shown["with_versions"], 400, 3, "has existing pipeline versions")
    refused(shown["unknown"], 404, 5, "not found")
    refused(shown["gone"], 404, 5, "not found")


@pytest.fixture
def spec(sdk, tmp_path):
    """What the SDK compiles, as text."""
    path = tmp_path / "compiled.yaml"
    sdk("compile_to", "two_steps", str(path))
    text = path.read_bytes()
    path.unlink()
    return text


def packed(*files):
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w:gz") as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return plain.getvalue()


def zipped(*files):
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w") as archive:
        for name, data in files:
            archive.writestr(name, data)
    return plain.getvalue()


PLATFORM = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec-read": {}}}}}}


def test_a_pipeline_is_uploaded_as_yaml_zip_or_tarball(url, sdk, spec, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    two = spec + b"\n---\n" + yaml.safe_dump(PLATFORM).encode()
    files = {
        "a.yaml": spec, "b.yml": spec, "c.zip": zipped(("x.txt", b""), ("pipeline.yaml", spec)),
        "d.tar.gz": packed(("other.yaml", b"no: spec"), ("pipeline.yaml", spec)),
        "e.tgz": packed(("./mine.yml", spec)), "f.yaml": two,
    }  # fmt: skip
    for name, data in files.items():
        (folder / name).write_bytes(data)
    document = yaml.safe_load(spec)
    stored = dict(sdk("uploads_of_all_kinds", url, str(folder)))
    assert stored.pop("f.yaml") == {"pipeline_spec": document, "platform_spec": PLATFORM}
    assert all(each == document for each in stored.values())
    assert len(stored) == 5


def test_an_uploaded_version_is_run_and_a_pipeline_alone_means_its_newest(url, sdk):
    newest, exact = sdk("runs_of_uploaded", url)
    assert "pipeline_spec" not in newest
    assert exact["pipeline_version_reference"] != newest["pipeline_version_reference"]


def test_experiments_are_made_archived_and_deleted(url, sdk):
    shown = sdk("experiments", url)
    refused(shown["twice"], 409, 6, "already exists")
    refused(shown["kept"], 409, 10, "default experiment cannot be deleted")
    refused(shown["shut"], 400, 9, "must be un-archived first")
    refused(shown["gone"], 404, 5, "not found")


def test_runs_are_ended_retried_archived_and_deleted(url, sdk):
    shown = sdk("life_of_runs", url)
    refused(shown["active"], 400, 3, "RUNNING")
    refused(shown["done"], 400, 3, "SUCCEEDED")
    refused(shown["gone"], 404, 5, "not found")
    assert {body["code"] for body in shown["unknown"]} == {5}


def test_tasks_in_tasks_say_where_they_stand(url, sdk, http):
    tasks = {task["pod_name"]: task for task in sdk("nested_tasks", url)}
    by_id = {task["task_id"]: task for task in tasks.values()}
    assert len(by_id) == len(tasks)
    parents = {path: by_id[task["parent_task_id"]]["pod_name"] for path, task in tasks.items()
               if "parent_task_id" in task}  # fmt: skip
    assert all(path.rpartition("/")[0] == parent for path, parent in parents.items())
    assert len(tasks) - len(parents) == 1  # the loop
    for path, task in tasks.items():
        children = {by_id[child["task_id"]]["pod_name"] for child in task.get("child_tasks", [])}
        assert children == {name for name, parent in parents.items() if parent == path}
    shown = sorted((task["display_name"], task["state"]) for task in tasks.values())
    assert shown.count(("write", "SUCCEEDED")) == 2
    assert shown.count(("only for a", "SUCCEEDED")) == 1
    run = next(iter(tasks.values()))["run_id"]
    resources = http.get("/tasks", params={"run_id": run}).json()["tasks"]
    kinds = {task["name"]: task["type"] for task in resources}
    assert sorted(kinds.values()).count("LOOP_ITERATION") == 2
    writes = [task for task in resources if task["display_name"] == "write"]
    given = [task["inputs"]["parameters"] for task in writes]
    assert given == [[{"parameter_key": "text", "value": "a"}], [{"parameter_key": "text", "value": "b"}]]
    said = http.get(f"{url}/apis/v1alpha1/runs/{run}/nodes/{writes[1]['name']}/log")
    assert said.text == "wrote b\n"


def test_pages_hold_every_run_once(url, sdk):
    shown = sdk("pages", url)
    refused(shown["other"], 400, 3, "page token does not match")
    refused(shown["unknown"], 400, 3, "unrecognized field 'colour'")


def test_what_cannot_be_is_refused_as_kfp_refuses_it(url, sdk):
    shown = sdk("refusals", url)
    refused(shown["unknown"], 400, 3, "parameter(s) provided are not required by pipeline: nothing")
    refused(shown["type"], 400, 3, "count requires type double or integer")
    refused(shown["experiment"], 404, 5, "Experiment nowhere not found")
    refused(shown["version"], 404, 5, "PipelineVersion v not found")
    assert shown["upload"]["status"] == 400
    assert "tags" in shown["upload"]["body"]["error_message"]


def test_the_client_that_goes_by_names_works(url, sdk):
    sdk("name_first_client", url)


def test_the_command_line_shows_tables_and_json(url, sdk, tmp_path):
    def kfp(*args):
        return sdk("command_line", url, *args)

    def as_json(*args):
        return json.loads(kfp("--output", "json", *args))

    package = sdk("compile_to", "two_steps", str(tmp_path / "p.yaml"))
    assert "line" in kfp("pipeline", "create", "-p", "line", package)
    line = as_json("pipeline", "list")[0]["pipeline_id"]
    assert "line" in kfp("pipeline", "get", line)
    kfp("pipeline", "create-version", "-v", "second", "-p", line, package)
    versions = {
        each["name"]: each["pipeline_version_id"] for each in as_json("pipeline", "list-versions", line)
    }
    assert set(versions) == {"line", "second"}
    assert "second" in kfp("pipeline", "get-version", line, versions["second"])
    assert "CREATED AT" in kfp("experiment", "create", "trial", "-d", "words")
    assert "trial" in kfp("experiment", "list")
    trial = next(each for each in as_json("experiment", "list") if each["display_name"] == "trial")
    assert "ARCHIVED" in kfp("experiment", "archive", "--experiment-id", trial["experiment_id"])
    assert "AVAILABLE" in kfp("experiment", "unarchive", "--experiment-name", "trial")
    assert "typed" in kfp("run", "create", "-e", "trial", "-r", "typed", "-f", package, "text=typed")
    (run,) = as_json("run", "list")
    assert (run["display_name"], run["experiment_id"]) == ("typed", trial["experiment_id"])
    assert "typed" in kfp("run", "get", run["run_id"])
    assert "ARCHIVED" in kfp("run", "archive", run["run_id"])
    assert "AVAILABLE" in kfp("run", "unarchive", run["run_id"])
    assert run["run_id"] in kfp("run", "delete", run["run_id"])
    assert "typed" not in kfp("run", "list")
    kfp("pipeline", "delete-version", line, versions["line"])
    assert [each["name"] for each in as_json("pipeline", "list-versions", line)] == ["second"]
    kfp("pipeline", "delete-version", line, versions["second"])
    kfp("pipeline", "delete", line)
    assert "line" not in kfp("pipeline", "list")
    kfp("experiment", "delete", trial["experiment_id"])
