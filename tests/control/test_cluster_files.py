"""A release's files where pods find them, and request lines from pods, each once."""

import json
from pathlib import Path

import pytest

from tuneline.control.cluster_files import DONE, placed, put
from tuneline.control.cluster_lines import FILE, Pulled
from tuneline.control.cluster_release import check
from tuneline.errors import ModelError, ProofError, SettingError
from tuneline.execute import objects
from tuneline.plan.endpoints import Desired, ReleaseFacts
from tuneline.serve import package as packages
from tuneline.serve.package import file_digest
from tuneline.spec.serving import Kubernetes

KUBERNETES = Kubernetes(adapters="pvc://claim/a")


@pytest.fixture
def release(tmp_path):
    for name in ("adapter/adapter_config.json", "adapter/adapter_model.safetensors"):
        (tmp_path / "package" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "package" / name).write_text(name)
    (tmp_path / "base").mkdir()
    for name in ("config.json", "model.safetensors", "base.gguf"):
        (tmp_path / "base" / name).write_text(name)
    manifest = {"adapter_digest": "sha256:0123456789abcdef0123", "recipe": {"r": 16}}
    proof = {"base_digest": "sha256:fedcba9876543210ffff", "passed": True}
    return ReleaseFacts("m@1.0.0", "m", tmp_path / "package", "", tmp_path / "base", proof, manifest)


def kubernetes(tmp_path, **more):
    return Kubernetes(**{"adapters": "pvc://claim/a", "upload": str(tmp_path / "bucket"), **more})


def test_adapter_and_base_lie_where_pods_look_by_their_content(release, tmp_path):
    chosen = kubernetes(tmp_path)
    put(release, "vllm", chosen)
    place = placed("1", release, "vllm", chosen)
    assert (place.files, place.base, place.rank) == (
        "m/0123456789abcdef",
        "pvc://claim/a/bases/fedcba9876543210",
        16,
    )
    found = {path.relative_to(tmp_path / "bucket").as_posix() for path in (tmp_path / "bucket").rglob("*.*")}
    assert {
        "m/0123456789abcdef/adapter_model.safetensors",
        "bases/fedcba9876543210/model.safetensors",
    } <= found
    assert not any("gguf" in name for name in found)


def test_a_folder_that_was_not_finished_is_written_again_and_a_finished_one_is_not(release, tmp_path):
    chosen = kubernetes(tmp_path)
    put(release, "vllm", chosen)
    folder = tmp_path / "bucket/m/0123456789abcdef"
    (folder / "adapter_config.json").write_text("half")
    put(release, "vllm", chosen)
    assert (folder / "adapter_config.json").read_text() == "half"
    folder.with_name(folder.name + DONE).unlink()
    put(release, "vllm", chosen)
    assert (folder / "adapter_config.json").read_text() == "adapter/adapter_config.json"


@pytest.mark.slow
def test_a_bucket_gets_the_same_folders_once(release, tmp_path, s3):
    """A real S3 server."""
    chosen = kubernetes(tmp_path, upload="s3://lines/models")
    put(release, "vllm", chosen)
    found = {each.relative for each in objects.find("s3://lines/models")}
    assert {
        "m/0123456789abcdef/adapter_config.json", "m/0123456789abcdef.complete",
        "bases/fedcba9876543210/model.safetensors", "bases/fedcba9876543210.complete",
    } <= found  # fmt: skip
    s3.seen.clear()
    put(release, "vllm", chosen)
    assert not any(each.startswith(("PUT", "POST")) for each in s3.seen)


@pytest.mark.slow
def test_a_package_of_own_code_is_whole_where_pods_find_it(tmp_path):
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "code.py").write_text("x = 1\n")
    body = {"schema": 1, "model": "m", "files": {"code.py": file_digest(folder / "code.py")}}
    (folder / "manifest.json").write_text(json.dumps(body))
    facts = ReleaseFacts("m@1.0.0", "m", folder, "", Path(), {}, body)
    put(facts, "pyfunc", kubernetes(tmp_path))
    place = placed("1", facts, "pyfunc", KUBERNETES)
    assert packages.load(tmp_path / "bucket" / place.files).manifest == body


@pytest.mark.parametrize("adapters", ["pvc://claim/a", "oci://r/a"])
def test_where_nobody_can_write_that_is_said(release, adapters):
    with pytest.raises(SettingError, match="Nobody here can write"):
        put(release, "vllm", Kubernetes(adapters=adapters, base="pvc://claim/b"))


def test_a_package_that_is_gone_or_not_proven_is_not_served(release, tmp_path):
    deploy = {
        "endpoint": "e",
        "kubernetes": {"upload": str(tmp_path / "bucket"), "adapters": "pvc://claim/a"},
    }
    desired = Desired("e", 1, "m@1.0.0", "", runtime="vllm", deploy=deploy)
    with pytest.raises(ModelError, match="is gone"):
        check(ReleaseFacts("m@1.0.0", "m", Path("/nowhere"), "", Path(), {}, {}), desired)
    files = {path.relative_to(release.package).as_posix(): path for path in release.package.rglob("*.*")}
    listed = {name: file_digest(path) for name, path in files.items()}
    hashes = dict.fromkeys(("served_digest", "adapter_digest", "template_hash", "tokenizer_hash"), "")
    body = {"schema": 1, "model": "m", "files": listed, **hashes}
    (release.package / "manifest.json").write_text(json.dumps(body))
    with pytest.raises(ProofError, match="was never proven"):
        check(release, desired)
    assert not (tmp_path / "bucket").exists()


LINES = [json.dumps({"id": f"r{number}"}).encode() + b"\n" for number in range(6)]
DATA = b"".join(LINES)


def reader(data):
    return lambda name, start: data[start:]


def text(folder):
    return b"".join(path.read_bytes() for path in sorted((folder / "segments").glob("*.jsonl")))


def test_lines_of_several_pods_come_each_once(tmp_path):
    pulled = Pulled(tmp_path)
    pulled.pull("a", {"00000001.jsonl": len(DATA[:40])}, reader(DATA[:40]))
    pulled.pull("a", {"00000001.jsonl": len(DATA)}, reader(DATA))
    pulled.pull("b", {"00000001.jsonl": len(LINES[0])}, reader(LINES[0]))
    pulled = Pulled(tmp_path)
    pulled.pull("a", {"00000001.jsonl": len(DATA)}, reader(DATA))
    assert text(tmp_path) == DATA + LINES[0]
    pulled.forget({"b"})
    assert set(json.loads((tmp_path / FILE).read_text())["pods"]) == {"b"}


@pytest.mark.parametrize("written", [0, 1, 20, len(DATA) - len(LINES[0]) - 1, len(DATA) - len(LINES[0])])
def test_a_server_that_is_killed_while_it_appends_neither_loses_nor_doubles_a_line(tmp_path, written):
    pulled = Pulled(tmp_path)
    pulled.pull("a", {"s": len(LINES[0])}, reader(LINES[0]))
    (target,) = (tmp_path / "segments").glob("*.jsonl")
    step = {"pod": "a", "name": "s", "end": len(DATA), "file": target.name, "size": len(DATA)}
    pulled._save(under_way=step)
    with target.open("ab") as file:
        file.write(DATA[len(LINES[0]) :][:written])
    pulled = Pulled(tmp_path)
    pulled.pull("a", {"s": len(DATA)}, reader(DATA))
    assert text(tmp_path) == DATA
