"""A base model on a hub: asked for by `fetch`, brought by `base`, by the real `huggingface_hub`."""

import json

import pytest
from tests.steps.hub_server import HubServer
from tests.steps.stepping import run_step
from tests.tiny import tiny_base, tiny_gguf

from tuneline.errors import DataError, ModelError, NetworkError
from tuneline.steps.base_source import name_of, remote_digest
from tuneline.steps.remote_base import fetch_tokenizer, make_remote_base

ADDRESS = "hf://ann/tiny"


@pytest.fixture
def hub(server):
    """A hub with nothing on it."""
    return HubServer(server)


@pytest.fixture
def at_hub(hub, desk):
    return lambda **more: desk(env={"HF_ENDPOINT": hub.files.url}, **more)


def tree(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "base.gguf"}


@pytest.mark.slow
def test_a_model_on_the_hub_becomes_the_base_that_its_folder_is(hub, at_hub, tmp_path):
    local = tiny_base(tmp_path / "local")
    hub.commit("ann/tiny", {**tree(local), "README.md": b"# tiny", "onnx/model.onnx": b"no"})
    facts = make_remote_base(ADDRESS, tmp_path / "base", at_hub())
    assert (facts["name"], facts["source"]) == ("ann/tiny", ADDRESS)
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (tmp_path / "base" / name).read_bytes() == (local / name).read_bytes()
    assert not any("README" in path or "onnx" in path for path, _ in hub.files.requests)
    assert not (tmp_path / "base.fetched").exists()
    hub.files.requests.clear()
    again = make_remote_base(ADDRESS, tmp_path / "again", at_hub(offline=True))
    assert again == facts
    assert not hub.files.requests


@pytest.mark.slow
def test_one_gguf_is_a_model_too(hub, at_hub, tmp_path):
    file = tiny_gguf(tmp_path / "tiny.gguf")
    hub.commit("ann/tiny", {"tiny.gguf": file.read_bytes(), "config.json": b"{}"})
    facts = make_remote_base(f"{ADDRESS}/tiny.gguf", tmp_path / "base", at_hub())
    assert facts["name"] == "ann/tiny/tiny.gguf"
    assert (tmp_path / "base/base.gguf").read_bytes() == file.read_bytes()
    assert not fetch_tokenizer(f"{ADDRESS}/tiny.gguf", tmp_path, at_hub())


@pytest.mark.slow
def test_its_digest_changes_with_its_files_alone_and_is_known_without_the_hub(hub, at_hub, tmp_path):
    local = tree(tiny_base(tmp_path / "local"))
    hub.commit("ann/tiny", local)
    with pytest.raises(NetworkError, match="offline"):
        remote_digest(ADDRESS, at_hub(offline=True))
    first = remote_digest(ADDRESS, at_hub())
    hub.commit("ann/tiny", {**local, "README.md": b"# another"})
    assert remote_digest(ADDRESS, at_hub()) == first
    make_remote_base(ADDRESS, tmp_path / "base", at_hub())
    assert remote_digest(ADDRESS, at_hub(offline=True)) == first
    hub.commit("ann/tiny", {**local, "config.json": b"{}"})
    assert remote_digest(ADDRESS, at_hub()) != first


@pytest.mark.slow
def test_a_preview_brings_the_tokenizer_alone(hub, at_hub, tmp_path):
    local = tree(tiny_base(tmp_path / "local"))
    hub.commit("ann/tiny", local)
    (tmp_path / "only").mkdir()
    assert fetch_tokenizer(ADDRESS, tmp_path / "only", at_hub())
    assert (tmp_path / "only/tokenizer.json").read_bytes() == local["tokenizer.json"]
    assert not (tmp_path / "only/model.safetensors").exists()


def test_a_model_has_a_name_and_must_be_where_models_can_be(desk):
    assert name_of("hf://google/gemma-3-1b-it@main") == "google/gemma-3-1b-it"
    assert name_of("s3://models/tuned/movie") == "movie"
    with pytest.raises(ModelError, match="begins with `kaggle://`"):
        remote_digest("kaggle://google/gemma", desk())
    with pytest.raises(DataError, match="not of the shape"):
        remote_digest("hf://gemma", desk())


@pytest.mark.slow
def test_the_step_brings_it_and_shows_how_far_it_is(hub, tmp_path, monkeypatch):
    """A real child process, as the runner starts it."""
    hub.commit("ann/tiny", tree(tiny_base(tmp_path / "local")))
    monkeypatch.setenv("HF_ENDPOINT", hub.files.url)
    monkeypatch.setenv("TUNELINE_HOME", str(tmp_path / "home"))
    made = run_step("base", tmp_path / "out", {"base_model": ADDRESS, "base_digest": ""}, {})
    assert json.loads((made.out("base") / "base.json").read_text())["name"] == "ann/tiny"
    assert any(event["type"] == "progress" and event["unit"] == "bytes" for event in made.events())
