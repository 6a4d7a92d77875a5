"""What may stand in a pipeline's file, in each way that KFP packs it, and what is told of anything else."""

import io
import json
import tarfile
import zipfile

import pytest
import yaml

from tuneline.cli.packages import Package, is_package, read_package
from tuneline.errors import NotFoundError, SpecError

TASK = {
    "taskInfo": {"name": "a"},
    "componentRef": {"name": "comp-a"},
    "cachingOptions": {"enableCache": True},
}
SPEC = {
    "pipelineInfo": {"name": "greet"},
    "schemaVersion": "2.1.0",
    "components": {"comp-a": {"executorLabel": "exec-a"}, "comp-sub": {"dag": {"tasks": {"b": TASK}}}},
    "deploymentSpec": {"executors": {"exec-a": {"container": {"image": "tuneline", "command": ["true"]}}}},
    "root": {
        "dag": {"tasks": {"a": TASK}},
        "inputDefinitions": {"parameters": {"n": {"parameterType": "NUMBER_INTEGER"}}},
    },
}
PLATFORM = {"platforms": {"kubernetes": {"pipelineConfig": {"workspace": {"size": "1Gi"}}}}}
ONE = yaml.safe_dump(SPEC)
TWO = yaml.safe_dump_all([SPEC, PLATFORM])


def zipped(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "."), text)
    return path


def tarred(path, name, text):
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(text.encode())
        archive.addfile(info, io.BytesIO(text.encode()))
    return path


def test_every_way_of_packing_gives_the_same_pipeline(tmp_path):
    (tmp_path / "p.yaml").write_text(ONE)
    (tmp_path / "p.json").write_text(json.dumps(SPEC))
    files = [
        tmp_path / "p.yaml",
        tmp_path / "p.json",
        zipped(tmp_path / "p.zip", pipeline__yaml=ONE, other__yaml="x: 1"),
        zipped(tmp_path / "q.zip", any__yml=ONE, readme__txt="x"),
        tarred(tmp_path / "p.tar.gz", "pipeline.yaml", ONE),
        tarred(tmp_path / "p.tgz", "p.yaml", ONE),
    ]
    for file in files:
        assert is_package(file)
        package = read_package(file)
        assert (package.name, package.document, list(package.inputs)) == ("greet", SPEC, ["n"])


def test_the_platforms_document_goes_with_the_pipeline(tmp_path):
    (tmp_path / "p.yaml").write_text(TWO)
    package = read_package(tmp_path / "p.yaml")
    assert package.document == {"pipeline_spec": SPEC, "platform_spec": PLATFORM}
    assert package.name == "greet"


def test_a_project_is_no_package(tmp_path, tuneline):
    tuneline("init", "demo")
    assert not is_package(tmp_path / "demo")
    assert not is_package(tmp_path / "demo" / "tuneline.yaml")
    assert not is_package(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    "text, why",
    [
        ("apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec: {}\n", "v1 pipeline"),
        ("name: add\nimplementation: {container: {image: x}}\n", "it is a component"),
        ("pipelineInfo: [\n", "unable to decode yaml"),
        ("deploymentSpec: {}\n", "schema version 2.1.0"),
        (
            "schemaVersion: 2.1.0\npipelineInfo: {name: a, description: 2026-01-01}\nroot: {dag: {}}\n",
            "invalid v2",
        ),
    ],
)
def test_what_is_no_pipeline_is_told_why(tmp_path, text, why):
    (tmp_path / "p.yaml").write_text(text)
    assert is_package(tmp_path / "p.yaml")
    with pytest.raises(SpecError, match=why) as wrong:
        read_package(tmp_path / "p.yaml")
    assert "p.yaml" in wrong.value.message


def test_packages_that_hold_no_pipeline_are_told_why(tmp_path):
    with pytest.raises(SpecError, match="Expecting a pipeline.yaml file"):
        read_package(zipped(tmp_path / "p.zip", a__yaml=ONE, b__yaml=ONE))
    with pytest.raises(SpecError, match="Expecting a pipeline.yaml file"):
        read_package(zipped(tmp_path / "q.zip", readme__txt="x"))
    for name in ("broken.zip", "broken.tar.gz"):
        (tmp_path / name).write_bytes(b"no archive")
        with pytest.raises(SpecError, match="broken"):
            read_package(tmp_path / name)
    with pytest.raises(NotFoundError):
        read_package(tmp_path / "nowhere.zip")


def test_a_package_does_not_unpack_without_end(tmp_path):
    with pytest.raises(SpecError, match="Maximum supported size"):
        read_package(zipped_large(tmp_path / "bomb.zip"))


def zipped_large(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pipeline.yaml", b"#" * ((32 << 20) + 1))
    return path


def test_without_cache_reaches_nested_pipelines_and_changes_nothing_else():
    plain = Package(SPEC, "p.yaml").without_cache().document
    assert plain["root"]["dag"]["tasks"]["a"]["cachingOptions"] == {}
    assert plain["components"]["comp-sub"]["dag"]["tasks"]["b"]["cachingOptions"] == {}
    assert TASK["cachingOptions"] == {"enableCache": True}
    assert plain["root"]["inputDefinitions"] == SPEC["root"]["inputDefinitions"]
    assert plain["deploymentSpec"] == SPEC["deploymentSpec"]
    both = Package({"pipeline_spec": SPEC, "platform_spec": PLATFORM}, "p.yaml").without_cache()
    assert both.document == {"pipeline_spec": plain, "platform_spec": PLATFORM}
