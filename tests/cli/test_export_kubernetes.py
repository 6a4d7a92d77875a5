"""`tuneline export kubernetes`: files that stay as they are, and nothing of somebody else overwritten."""

import json
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote

import pytest
import yaml
from click.testing import CliRunner
from tests.kubernetes_schemas import check
from tests.vllm_server import serving

from tuneline.cli.main import cli
from tuneline.errors import ConflictError, SpecError

DIGEST = "sha256:" + "a" * 64
PROJECT = f"""
name: reviews
data: {{source: a.csv, prompt: "{{x}}", completion: "{{y}}"}}
base_model: google/gemma-3-1b-it
deploy:
  runtime: vllm
  on: kubernetes
  kubernetes:
    image: vllm/vllm-openai@{DIGEST}
    router_image: r/tuneline@{DIGEST}
    base: gs://bucket/models/gemma-3-1b-it
    adapters: gs://bucket/adapters
    gateway: infra/main
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a project, and a home without a server."""
    monkeypatch.setenv("TUNELINE_HOME", str(tmp_path / "home"))
    (tmp_path / "tuneline.yaml").write_text(PROJECT)
    return tmp_path


def export(project, *words):
    found = CliRunner().invoke(
        cli, ["export", "kubernetes", str(project), "-o", str(project / "k8s"), *words]
    )
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found


RELEASE = ("--release", "reviews@1.0.0", "--adapter", "reviews/0123")


def test_what_is_written_is_valid_and_whole(project):
    export(project, *RELEASE)
    folder = project / "k8s"
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert sorted([*listed, "kustomization.yaml"]) == sorted(path.name for path in folder.iterdir())
    kinds = set()
    for name in listed:
        text = (folder / name).read_text()
        body = yaml.safe_load(text)
        check(body)
        kinds.add(body["kind"])
        assert "&id" not in text
    assert kinds == {"ConfigMap", "Service", "Deployment", "PodDisruptionBudget", "HTTPRoute"}
    assert "Secret" not in kinds


def test_a_second_export_changes_nothing_and_another_release_what_it_must(project):
    export(project, *RELEASE)
    before = {path.name: path.read_bytes() for path in (project / "k8s").iterdir()}
    body = json.loads(export(project, *RELEASE, "--json").stdout)
    assert (body["changed"], body["removed"]) == ([], [])
    assert before == {path.name: path.read_bytes() for path in (project / "k8s").iterdir()}
    body = json.loads(
        export(project, "--release", "reviews@1.1.0", "--adapter", "reviews/4567", "--json").stdout
    )
    assert "deployment-reviews-1-0-0.yaml" in body["removed"]
    assert not any("vllm" in name and name.startswith("deployment") for name in body["changed"])
    assert body["takes"] == {next(iter(body["takes"])): "a pod with 1 nvidia-l4, 4 CPU and 11 GB of memory"}


def test_a_foreign_file_is_not_overwritten_and_nothing_is_written(project):
    (project / "k8s").mkdir()
    (project / "k8s/kustomization.yaml").write_text("resources: []\n")
    with pytest.raises(ConflictError, match=r"kustomization\.yaml"):
        export(project, *RELEASE)
    assert [path.name for path in (project / "k8s").iterdir()] == ["kustomization.yaml"]


def test_without_a_server_the_base_is_served_and_that_is_said(project):
    found = export(project)
    assert "the base is served as it is" in found.stderr
    assert not any("adapters" in path.name for path in (project / "k8s").iterdir())


@pytest.mark.parametrize("base_model", ["hf://google/gemma-3-1b-it@abc123", "hf://google/gemma-3-1b-it"])
def test_a_base_on_the_hub_is_served_from_there_if_it_is_pinned(project, base_model):
    text = PROJECT.replace("    base: gs://bucket/models/gemma-3-1b-it\n", "")
    (project / "tuneline.yaml").write_text(text.replace("google/gemma-3-1b-it", base_model))
    if "@" in base_model:
        found = export(project)
        assert f"the base is served as it is, from {base_model}" in found.stderr
        assert "must lie at" not in found.stderr
        (name,) = project.glob("k8s/deployment-reviews-vllm-*.yaml")
        arguments = yaml.safe_load(name.read_text())["spec"]["template"]["spec"]["containers"][0]["args"]
        assert arguments[arguments.index("--revision") + 1] == "abc123"
    else:
        with pytest.raises(SpecError, match="nobody knows a release") as raised:
            export(project)
        assert "`tuneline run` makes one" in raised.value.hint


def test_a_release_that_nobody_knows_is_refused(project):
    with pytest.raises(SpecError, match="No server runs here that knows the release") as raised:
        export(project, "--release", "reviews@1.0.0")
    assert "--adapter reviews/1.0.0" in raised.value.hint


def test_a_project_that_is_served_here_is_refused(project):
    text = PROJECT.partition("deploy:")[0]
    (project / "tuneline.yaml").write_text(text)
    with pytest.raises(SpecError, match="is served here"):
        export(project, *RELEASE)


class Server(BaseHTTPRequestHandler):
    """What a server of ours says of one endpoint and its release."""

    live, base = "reviews@1.2.0", None

    def do_GET(self):
        manifest = {"adapter_digest": "sha256:0123456789abcdef0123", "recipe": {"r": 16}}
        found = {
            "/healthz": {"ok": True, "version": "0.1.0"},
            "/api/v1/endpoints/reviews/live": {"release": self.live, "digest": None, "package": None},
            "/api/v1/releases/reviews@1.2.0": {
                "release": "reviews@1.2.0",
                "manifest": manifest,
                "base": self.base,
            },
        }.get(unquote(self.path))
        data = json.dumps(found or {"error": {"code": "not_found", "message": self.path}}).encode()
        self.send_response(200 if found else 404)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        return


def test_what_is_live_is_exported_with_its_adapter_and_rank(project, monkeypatch):
    with serving(Server) as port:
        monkeypatch.setenv("TUNELINE_URL", f"http://127.0.0.1:{port}")
        body = json.loads(export(project, "--json").stdout)
        assert body["release"] == "reviews@1.2.0"
        (name,) = [each for each in body["files"] if each.endswith("adapters.yaml")]
        listed = json.loads(yaml.safe_load((project / "k8s" / name).read_text())["data"]["adapters.json"])
        assert listed == [
            {"name": "reviews@1.2.0", "path": "/adapters/reviews/0123456789abcdef", "required": True}
        ]
        (engine,) = body["takes"]
        deployment = yaml.safe_load((project / "k8s" / f"deployment-{engine}.yaml").read_text())
        assert deployment["spec"]["template"]["spec"]["containers"][0]["args"][-2:] == [
            "--max-lora-rank",
            "16",
        ]
        monkeypatch.setattr(Server, "live", None)
        found = export(project)
        assert "Nothing is live at the endpoint `reviews`: the base is served as it is" in found.stderr
        (project / "tuneline.yaml").write_text(
            PROJECT.replace("    base: gs://bucket/models/gemma-3-1b-it\n", "")
        )
        with pytest.raises(SpecError, match="Nothing is live at the endpoint `reviews`"):
            export(project)


def test_a_base_that_the_project_does_not_name_is_the_one_that_was_trained_on(project, monkeypatch):
    text = PROJECT.replace("    base: gs://bucket/models/gemma-3-1b-it\n", "")
    (project / "tuneline.yaml").write_text(text)
    with pytest.raises(SpecError, match="Where pods find the base of reviews@1.0.0") as raised:
        export(project, *RELEASE)
    assert "-p deploy.kubernetes.base=" in raised.value.hint
    assert not (project / "k8s").exists()
    export(project, *RELEASE, "-p", "deploy.kubernetes.base=gs://bucket/models/other")
    with serving(Server) as port:
        monkeypatch.setenv("TUNELINE_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setattr(Server, "base", {"uri": "x", "digest": "sha256:" + "c" * 64})
        found = export(project)
        assert f"Its base must lie at gs://bucket/adapters/bases/{'c' * 16}" in found.stderr
    (name,) = [path for path in (project / "k8s").glob("deployment-*vllm*")]
    volumes = {
        each["name"]: each for each in yaml.safe_load(name.read_text())["spec"]["template"]["spec"]["volumes"]
    }
    attributes = volumes["base"]["csi"]["volumeAttributes"]
    assert (attributes["bucketName"], attributes["mountOptions"]) == (
        "bucket", f"implicit-dirs,only-dir=adapters/bases/{'c' * 16}",
    )  # fmt: skip
