"""Any pipeline by command, on a real server: run, followed, told, retried with a change, cloned, put away."""

import json
import os
import textwrap

import pytest
import yaml

pytestmark = pytest.mark.slow

STRING, INTEGER = {"parameterType": "STRING"}, {"parameterType": "NUMBER_INTEGER"}


def pipeline(last="rows"):
    """A fetch, the same in a nested pipeline, and in a loop over files. `last`: what the loop fetches."""
    fetch = {
        "executorLabel": "exec-fetch",
        "inputDefinitions": {"parameters": {"source": STRING, "sha256": STRING}},
        "outputDefinitions": {"artifacts": {"data": {"artifactType": {"schemaTitle": "system.Dataset"}}}},
    }
    inner = {
        "inputDefinitions": {"parameters": {"source": STRING}},
        "dag": {"tasks": {"fetch": task("fetch", source=of_parent("source"))}},
    }
    container = {"image": "tuneline", "command": ["tuneline", "step", "fetch"],
                 "args": ["--executor-input", "{{$}}"]}  # fmt: skip
    loop = task("fetch", ["inner"], source=of_parent("pipelinechannel--item"))
    loop["inputs"]["parameters"] |= {"pipelinechannel--item": of_parent(last)}
    loop["parameterIterator"] = {
        "itemInput": "source",
        "items": {"inputParameter": "pipelinechannel--item"},
    }
    del loop["inputs"]["parameters"]["source"]
    return {
        "schemaVersion": "2.1.0",
        "sdkVersion": "kfp-2.17.0",
        "pipelineInfo": {"name": "fetches"},
        "components": {"comp-fetch": fetch, "comp-inner": inner},
        "deploymentSpec": {"executors": {"exec-fetch": {"container": container}}},
        "root": {
            "inputDefinitions": {
                "parameters": {
                    "file": STRING,
                    "rows": {"parameterType": "LIST"},
                    "others": {"parameterType": "LIST", "isOptional": True},
                    "api_token": {**STRING, "isOptional": True},
                }
            },
            "dag": {
                "tasks": {
                    "first": task("fetch", source=of_parent("file")),
                    "inner": task("inner", ["first"], digest=None, source=of_parent("file")),
                    "for-loop-1": loop,
                }
            },
        },
    }


def of_parent(name):
    return {"componentInputParameter": name}


def task(component, after=(), digest="", **parameters):
    constant = {} if digest is None else {"sha256": {"runtimeValue": {"constant": digest}}}
    return {
        "taskInfo": {"name": component},
        "componentRef": {"name": f"comp-{component}"},
        "dependentTasks": list(after),
        "inputs": {"parameters": parameters | constant},
        "cachingOptions": {"enableCache": True},
    }


@pytest.fixture
def files(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.csv").write_text(f"text,label\n{name},good\n")
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(pipeline()))
    return [str(tmp_path / f"{name}.csv") for name in ("a", "b", "c")]


def given(files, rows=None):
    return ("-p", f"file={files[0]}", "-p", f"rows={json.dumps(rows or files)}")


def test_a_pipeline_runs_to_its_report_and_is_listed_shown_cloned_and_put_away(tuneline, home, files):
    ended = tuneline(
        "run",
        "p.yaml",
        *given(files),
        "-p",
        "api_token=s3cr3t-value",
        "--experiment",
        "trials",
        "--name",
        "first try",
    )
    assert ended.code == 0, ended.err
    assert "first try: run" in ended.out
    assert "3 of 3 iterations" in ended.out
    assert "named like a secret" in ended.out
    assert "inner/fetch: done" in ended.err
    assert "for-loop-1/0" not in ended.err  # a loop may have thousands
    assert "s3cr3t-value" not in ended.out + ended.err
    (listed,) = json.loads(tuneline("runs", "list", "--json").out)
    run = listed["id"]
    assert (listed["display_name"], listed["parameters"]["api_token"]) == ("first try", "***")
    shown = json.loads(tuneline("runs", "show", run, "--json").out)
    loop = [f"for-loop-1/{n}" for n in range(3)]
    assert {found["name"] for found in shown["tasks"]} == {
        "first",
        "inner",
        "inner/fetch",
        "for-loop-1",
        *loop,
    }
    assert "for-loop-1/1" in tuneline("runs", "show", run, "--all").out
    logs = tuneline("runs", "logs", run, "for-loop-1")
    assert [line for line in logs.err.splitlines() if line.startswith("==")] == [
        f"== for-loop-1/{n}" for n in range(3)
    ]
    again = tuneline("runs", "clone", run, "-p", f"rows={json.dumps(files[:1])}", "--json", "-f")
    assert again.code == 0, again.err
    clone = json.loads(again.out)
    assert clone["parameters"] == {"file": files[0], "rows": files[:1], "api_token": "***"}
    assert [found["name"] for found in clone["tasks"] if found["parent"] == "for-loop-1"] == ["for-loop-1/0"]
    assert tuneline("runs", "archive", run).code == 0
    assert [row["id"] for row in json.loads(tuneline("runs", "list", "--json").out)] == [clone["run"]]
    assert [row["id"] for row in json.loads(tuneline("runs", "list", "--archived", "--json").out)] == [run]
    assert tuneline("runs", "unarchive", run).code == 0
    assert tuneline("runs", "delete", run).out == f"{run} deleted\n"
    assert tuneline("runs", "show", run).code == 1


def test_what_fails_is_told_with_its_log_and_runs_again_with_a_corrected_pipeline(
    tuneline, home, files, tmp_path
):
    ended = tuneline(
        "run",
        "p.yaml",
        *given(files, [files[1], "/nowhere.csv"]),
        "-p",
        f"others={json.dumps(files[1:])}",
        "--json",
    )
    assert ended.code == 1
    body = json.loads(ended.out)
    states = {found["name"]: found["state"] for found in body["tasks"]}
    assert (states["for-loop-1/0"], states["for-loop-1/1"], body["exit_code"]) == ("SUCCEEDED", "FAILED", 1)
    assert "/nowhere.csv" in ended.err
    assert "log: " in ended.err
    assert f"tuneline runs retry {body['run']}" in ended.err
    (tmp_path / "fixed.yaml").write_text(yaml.safe_dump(pipeline(last="others")))
    again = tuneline("runs", "retry", body["run"], "--with", "fixed.yaml", "-f", "--json")
    assert again.code == 0, again.err
    fixed = json.loads(again.out)
    assert fixed["run"] != body["run"]
    assert {found["name"]: found["state"] for found in fixed["tasks"]}["first"] == "CACHED"


def test_faults_of_a_pipeline_and_of_parameters_are_told_before_a_server_is_started(
    tuneline, home, files, tmp_path
):
    ended = tuneline("run", "p.yaml", "-p", "fiel=x", "-p", "rows=3")
    assert (ended.code, ended.out) == (2, "")
    assert "unknown parameter `fiel`; nearest: `file`" in ended.err
    assert "`rows` must be a LIST" in ended.err
    broken = pipeline()
    broken["root"]["dag"]["tasks"]["first"]["componentRef"]["name"] = "comp-nothing"
    (tmp_path / "broken.yaml").write_text(yaml.safe_dump(broken))
    ended = tuneline("run", "broken.yaml", *given(files))
    assert ended.code == 2
    assert "comp-nothing" in ended.err
    assert not home.exists()


def test_an_image_that_cannot_be_had_is_told_and_leaves_no_run(tuneline, home, files, tmp_path):
    foreign = pipeline()
    foreign["deploymentSpec"]["executors"]["exec-fetch"]["container"]["image"] = (
        "example.test/nobody/has:this"
    )
    (tmp_path / "foreign.yaml").write_text(yaml.safe_dump(foreign))
    ended = tuneline("run", "foreign.yaml", *given(files))
    assert ended.code == 2
    assert "example.test/nobody/has:this" in ended.err
    assert json.loads(tuneline("runs", "list", "--json").out) == []


def test_a_python_file_is_compiled_and_run(tuneline, home, files, tmp_path, kfp_python):
    (tmp_path / "pipeline.py").write_text(
        textwrap.dedent(
            """
            from kfp import components, dsl

            fetch = components.load_component_from_file("fetch.yaml")

            @dsl.pipeline(name="from-python")
            def first(file: str):
                fetch(source=file, sha256="")
            """
        )
    )
    (tmp_path / "fetch.yaml").write_text(
        yaml.safe_dump(
            {
                "name": "fetch",
                "inputs": [{"name": "source", "type": "String"}, {"name": "sha256", "type": "String"}],
                "outputs": [{"name": "data", "type": "Dataset"}],
                "implementation": {
                    "container": {
                        "image": "tuneline",
                        "command": ["tuneline", "step", "fetch"],
                        "args": ["--executor-input", "{{$}}"],
                    }
                },
            }
        )
    )
    ended = tuneline(
        "run", "pipeline.py", "--kfp-python", str(kfp_python), "-p", f"file={files[0]}", "--json"
    )
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["name"].startswith("from-python ")


PATHS = [path for path in os.environ["PATH"].split(":") if os.path.isdir(path)]
SHELL = {
    "pipelineInfo": {"name": "shell"},
    "components": {"comp-say": {"executorLabel": "exec-say"}},
    "deploymentSpec": {
        "executors": {"exec-say": {"container": {"image": "alpine", "command": ["sh", "-c", "echo hello"]}}}
    },
    "root": {"dag": {"tasks": {"say": {"componentRef": {"name": "comp-say"}}}}},
    "schemaVersion": "2.1.0",
}


def test_an_image_without_an_engine_is_refused_by_name_and_runs_on_the_host_where_that_is_said(
    tuneline, home, tmp_path, monkeypatch
):
    engines = {"podman", "docker"}
    monkeypatch.setenv("PATH", ":".join(p for p in PATHS if not engines & set(os.listdir(p))))
    (tmp_path / "shell.yaml").write_text(yaml.safe_dump(SHELL))
    refused = tuneline("run", "shell.yaml")
    assert refused.code == 2
    assert "alpine" in refused.err
    assert "--images host" in refused.err
    ran = tuneline("run", "shell.yaml", "--images", "host", "--json")
    assert ran.code == 0, ran.err
    (task,) = json.loads(tuneline("runs", "show", json.loads(ran.out)["run"], "--json").out)["tasks"]
    assert any("alpine" in note for note in task["notes"]), task
