"""The package folder: complete, the same to the byte, and refused when it is not what it says."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from tests.serve.releases import make_release, write_package

from tuneline.errors import ModelError
from tuneline.execute.files import digest_path
from tuneline.serve import package


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_release(tmp_path_factory.mktemp("release"))


@pytest.fixture
def folder(release: Path, tmp_path: Path) -> Path:
    shutil.copytree(release / "package", tmp_path / "package")
    return tmp_path / "package"


def test_identical_content_is_identical_to_the_byte(release: Path, tmp_path: Path) -> None:
    again = (
        write_package(release, tmp_path / "elsewhere" / "package")
        if (tmp_path / "elsewhere").mkdir() is None
        else None
    )
    assert digest_path(again) == digest_path(release / "package")


def test_what_it_was_compared_with_is_no_part_of_it(release: Path, tmp_path: Path) -> None:
    """Else a run that changed nothing would make another release, once the first one is live."""
    (tmp_path / "second").mkdir()
    scores = {"accuracy": 0.84, "f1": 0.83, "ece": 0.02, "log_loss": 0.4}
    again = write_package(release, tmp_path / "second" / "package", live=scores)
    assert digest_path(again) == digest_path(release / "package")


def test_the_manifest_names_every_file_and_what_it_was_made_from(release: Path, folder: Path) -> None:
    found = package.load(folder)
    assert sorted(found.manifest["files"]) == package.content_files(folder)
    assert {
        "adapter/adapter_model.safetensors",
        "served/adapter.gguf",
        "tokenizer/tokenizer.json",
        "rows.txt",
    } <= set(found.manifest["files"])
    assert found.manifest["adapter_digest"] == digest_path(release / "adapter")[0]
    assert found.manifest["served_digest"] == digest_path(release / "served")[0]
    assert found.template == {
        "prompt": "Review: {text}\nSentiment:", "completion": " {label}", "format": "prompt",
        "hash": found.manifest["template_hash"],
    }  # fmt: skip
    assert len(found.rows) == 80


def test_nothing_in_it_says_when_or_where(folder: Path, release: Path) -> None:
    for path in (*folder.rglob("*.json"), folder / "README.md"):
        text = path.read_text()
        assert str(release) not in text
        assert "created" not in text


def test_the_card_has_the_hubs_front_matter_and_the_evaluation(folder: Path) -> None:
    _, front, text = (folder / "README.md").read_text().split("---\n", 2)
    matter = yaml.safe_load(front)
    assert matter["base_model_relation"] == "adapter"
    assert matter["library_name"] == "peft"
    assert matter["model-index"][0]["results"][0]["metrics"][0] == {"type": "accuracy", "value": 0.84}
    assert "Review: {text}\nSentiment:" in text
    assert "| accuracy | 0.8400 | 0.5000 |" in text
    assert "dropped, blank: 2" in text


@pytest.mark.parametrize(
    "name", ["adapter/adapter_model.safetensors", "template.json", "rows.txt", "README.md"]
)
def test_a_changed_file_is_named(folder: Path, name: str) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[:-1] + b"~")
    with pytest.raises(ModelError, match=f"{name} was changed"):
        package.load(folder)


def test_every_fault_is_told_at_once(folder: Path) -> None:
    (folder / "rows.txt").unlink()
    (folder / "served" / "more.gguf").write_bytes(b"x")
    with pytest.raises(ModelError) as caught:
        package.load(folder)
    assert caught.value.details == ["rows.txt is missing", "served/more.gguf does not belong to it"]


def test_a_folder_that_is_no_package_or_a_newer_one_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a package"):
        package.load(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "schema": 2}))
    with pytest.raises(ModelError, match="has schema 2"):
        package.load(folder)


def test_a_template_that_is_not_the_trained_one_makes_no_package(release: Path, tmp_path: Path) -> None:
    shutil.copytree(release, tmp_path / "release")
    path = tmp_path / "release" / "adapter" / "tuneline.json"
    trained = json.loads(path.read_text())
    trained["template"]["prompt"] += " "
    path.write_text(json.dumps(trained))
    with pytest.raises(ModelError, match="its hash is another"):
        write_package(tmp_path / "release", tmp_path / "package")
