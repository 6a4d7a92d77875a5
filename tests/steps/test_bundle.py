"""A run that can ask no server leaves a bundle; `tuneline import` makes of it what asking would have made.

And a step that shares no files with its server: what it needs goes over HTTP."""

import json
import os
import shutil
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.steps.test_live_and_propose import run_step
from tests.steps.test_live_and_propose import server as served

from tuneline.cli.main import cli
from tuneline.errors import ConflictError, DataError, ModelError
from tuneline.execute.files import digest_path
from tuneline.serve.package import content_files, file_digest

server = served


@pytest.fixture(autouse=True)
def no_server(monkeypatch):
    for name in ("URL", "HOME", "RUN_ID", "RECORD_RUN", "PATIENCE_S"):
        monkeypatch.delenv(f"TUNELINE_{name}", raising=False)


def proposed(folder: Path, weights: str = "one", rules=("accuracy > 0.8",), passed: bool = True):
    """Run `propose` over a whole package made in `folder`: (its exit code, what it says, its bundle)."""
    package = folder / "package"
    (package / "adapter").mkdir(parents=True)
    (package / "adapter" / "adapter_config.json").write_text("{}")
    (package / "adapter" / "weights").write_text(weights)
    base = folder / "base"
    base.mkdir()
    (base / "model.safetensors").write_text("weights")
    names = {"adapter_digest": f"sha256:{weights}", "served_digest": f"sha256:{weights}",
             "template_hash": "sha256:t", "tokenizer_hash": "sha256:k"}  # fmt: skip
    manifest = {
        "schema": 1,
        "model": "m",
        "base": {"name": "b", "file_sha256": "1"},
        "labels": ["a", "b"],
        **names,
    }
    manifest |= {"recipe_digest": f"sha256:{weights}"}
    manifest["files"] = {path: file_digest(package / path) for path in content_files(package)}
    (package / "manifest.json").write_text(json.dumps(manifest))
    told = {
        "verdict": {
            "passed": passed,
            "rules": [{"rule": rule, "passed": passed, "reason": ""} for rule in rules],
        },
        "proof": {"passed": True, "runtime": "llamacpp", "base_digest": digest_path(base)[0], **names},
        "report": {"rows": 1, "candidate": {"accuracy": 0.9}},
    }
    for name, value in told.items():
        (folder / name).write_text(json.dumps(value))
    inputs = {name: folder / name for name in ("package", "base", *told)}
    parameters = {
        "model": "m", "monitor": {},
        "deploy": {"endpoint": "m", "runtime": "llamacpp", "port": 0, "keep_s": 60},
        "live_digest": "" if "TUNELINE_URL" in os.environ else "unknown: no server: TUNELINE_URL is unset",
        "passed": passed,
    }  # fmt: skip
    code, said, uris = run_step("propose", folder / "propose", parameters, inputs, ("bundle",))
    return code, said, Path(uris["bundle"]) if uris else None


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    """What a run left, and the base of it; the folder it was made in is gone."""
    monkeypatch.setenv("TUNELINE_RUN_ID", "there-1")
    code, said, made = proposed(tmp_path / "there")
    assert (code, said["state"]) == (0, "candidate")
    shutil.move(made, tmp_path / "bundle")
    shutil.move(tmp_path / "there" / "base", tmp_path / "base")
    shutil.rmtree(tmp_path / "there")
    return tmp_path / "bundle"


def test_a_bundle_becomes_a_release_with_its_run_lineage_verdict_and_a_ledger_entry(
    bundle, tmp_path, request
):
    platform = request.getfixturevalue("server")
    done = platform.importing.take(str(bundle), str(tmp_path / "base"))
    assert (done["release"], done["state"], done["created"]) == ("m@1.0.0", "approved", True)
    release = platform.release("m@1.0.0")
    assert release["verdict"]["passed"]
    package = Path(release["package"]["uri"])
    assert package.is_relative_to(tmp_path / "packages")
    assert digest_path(package)[0] == release["package"]["digest"]
    (wanted,) = platform.record.endpoints.desired()
    assert wanted.release == "m@1.0.0"

    run = platform.run(done["run"])
    assert (run["state"], run["project"]) == ("SUCCEEDED", "m")
    assert run["report"]["verdict"]["passed"]
    assert run["report"]["metrics"]["candidate"]["accuracy"] == 0.9
    assert run["report"]["release"]["release"] == "m@1.0.0"
    walk = platform.artifacts.lineage("m@1.0.0", "up")
    assert {each["name"] for each in walk["artifacts"]} == {"package", "base"}  # as at home
    entry = platform.ledger()[-1]
    assert entry["kind"] == "imported"
    assert {key: entry["body"][key] for key in ("release", "by", "from", "made_by_run")} == {
        "release": "m@1.0.0", "by": "ann", "from": str(bundle), "made_by_run": "there-1",
    }  # fmt: skip
    assert platform.verify_ledger()["ok"]


def test_the_same_bundle_again_changes_nothing(bundle, tmp_path, request):
    platform = request.getfixturevalue("server")
    first = platform.importing.take(str(bundle), str(tmp_path / "base"))
    entries, runs = platform.ledger(), platform.runs()
    again = platform.importing.take(str(bundle))
    assert (again["release"], again["created"], again["run"]) == ("m@1.0.0", False, first["run"])
    assert (platform.ledger(), platform.runs()) == (entries, runs)


@pytest.mark.parametrize("file", ["package/adapter/weights", "package/manifest.json", "bundle.json", "more"])
def test_a_bundle_that_was_changed_is_refused_and_leaves_nothing(bundle, file, tmp_path, request):
    platform = request.getfixturevalue("server")
    path = bundle / file
    path.write_text((path.read_text() if path.exists() else "").replace("m", "n") + " ")
    if file == "bundle.json":
        path.write_text(path.read_text().replace('"passed": true', '"passed": false'))
    with pytest.raises((ModelError, DataError)) as refused:
        platform.importing.take(str(bundle), str(tmp_path / "base"))
    assert refused.value.hint
    assert (platform.ledger(), platform.runs(), platform.models()) == ([], [], [])


def test_what_is_no_bundle_and_a_base_that_is_not_here_or_another_are_refused(bundle, tmp_path, request):
    platform = request.getfixturevalue("server")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="is no bundle"):
        platform.importing.take(str(tmp_path / "empty"))
    with pytest.raises(ModelError, match="is not on this server"):
        platform.importing.take(str(bundle))
    (tmp_path / "base" / "model.safetensors").write_text("other")
    with pytest.raises(ModelError, match="is not the base of `m`"):
        platform.importing.take(str(bundle), str(tmp_path / "base"))
    assert platform.runs() == []


def test_a_bundle_takes_the_place_of_what_is_live_only_where_somebody_says_so(
    bundle, tmp_path, request, monkeypatch
):
    platform = request.getfixturevalue("server")
    code, said, _ = proposed(tmp_path / "live", "another")
    assert (code, said["release"]) == (0, "m@1.0.0")
    platform.record.endpoints.went_live("m", "m@1.0.0", "", "it is good", "ann", 1.0)
    entries = platform.ledger()
    with pytest.raises(ConflictError, match="never compared") as refused:
        platform.importing.take(str(bundle), str(tmp_path / "base"))
    assert "--replace" in refused.value.hint
    assert platform.ledger() == entries
    done = platform.importing.take(str(bundle), replace=True)  # its base is known by the live release
    assert (done["release"], done["state"]) == ("m@2.0.0", "approved") or done["release"].startswith("m@1.")
    assert platform.ledger()[-1]["body"]["replace"] is True


def test_a_refused_bundle_is_on_record_as_rejected(tmp_path, request):
    _, _, made = proposed(tmp_path / "there", passed=False)
    platform = request.getfixturevalue("server")
    done = platform.importing.take(str(made), str(tmp_path / "there" / "base"))
    assert done["state"] == "rejected"


def test_with_a_server_there_is_no_bundle(server, tmp_path):
    code, said, made = proposed(tmp_path / "here")
    assert (code, said["release"]) == (0, "m@1.0.0")
    assert list(made.iterdir()) == []


def test_a_step_that_shares_no_files_with_the_server_sends_its_package_and_is_sent_what_is_live(
    server,
    tmp_path,
    monkeypatch,
):
    proposed(tmp_path / "first")
    server.record.endpoints.went_live("m", "m@1.0.0", "", "it is good", "ann", 1.0)
    monkeypatch.setenv("TUNELINE_HOME", "/home/of/a/pod")
    monkeypatch.setenv("TUNELINE_RECORD_RUN", "20261126-1")
    parameters = {"model": "m", "endpoint": "m", "init_adapter": "live"}
    code, said, uris = run_step("live", tmp_path / "live", parameters, outputs=("package", "init"))
    assert (code, said["release"]) == (0, "m@1.0.0")
    assert Path(uris["package"]) == tmp_path / "live" / "package"
    assert digest_path(Path(uris["package"]))[0] == said["digest"]
    assert Path(uris["init"]) == tmp_path / "live" / "package" / "adapter"

    live_digest = said["digest"]
    real = os.environ["TUNELINE_URL"]
    monkeypatch.delenv("TUNELINE_URL")
    _, _, made = proposed(tmp_path / "pod", "two")  # only to have its files
    monkeypatch.setenv("TUNELINE_URL", real)
    inputs = {name: tmp_path / "pod" / name for name in ("package", "base", "verdict", "proof", "report")}
    deploy = {"endpoint": "m", "runtime": "llamacpp", "port": 0, "keep_s": 60}
    asked = {"model": "m", "deploy": deploy, "monitor": {}, "live_digest": live_digest, "passed": True}
    code, said, _ = run_step("propose", tmp_path / "pod" / "again", asked, inputs, ("bundle",))
    assert (code, said["state"]) == (0, "approved"), said
    release = server.release(said["release"])
    assert release["run"] == "20261126-1"
    assert Path(release["package"]["uri"]).is_relative_to(tmp_path / "packages")
    assert digest_path(Path(release["package"]["uri"]))[0] == release["package"]["digest"]
    assert Path(release["base"]["uri"]) == tmp_path / "first" / "base"  # found by its digest


def test_a_package_that_is_not_what_it_is_called_is_not_kept(server, tmp_path):
    import io  # noqa: PLC0415
    import tarfile  # noqa: PLC0415

    digest = "sha256:" + "0" * 64
    for name, said in (
        ("weights", "has the digest"),
        ("../../escape", "cannot be read"),
        ("link", "none of files"),
    ):
        archive = tmp_path / "archive.tar"
        with tarfile.open(archive, "w") as tar:
            entry = tarfile.TarInfo(name)
            if name == "link":
                entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            entry.size = 0 if name == "link" else 1
            tar.addfile(entry, io.BytesIO(b"x"))
        with pytest.raises(ModelError, match=said):
            server.packages.take(digest, archive)
    assert not (tmp_path / "escape").exists()
    assert [path.name for path in (tmp_path / "packages").iterdir()] == []


def test_a_step_waits_for_a_server_that_is_started_again(server, tmp_path, monkeypatch):
    """The server's port answers 503, then it is back: as behind a load balancer while it restarts."""
    from http.server import BaseHTTPRequestHandler, HTTPServer  # noqa: PLC0415

    asked = []

    class Starting(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = b'{"status": "starting"}' if len(asked) < 3 else json.dumps(server.healthz()).encode()
            self.send_response(503 if len(asked) < 3 else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    from tuneline.steps.asking import asked as ask  # noqa: PLC0415

    with HTTPServer(("127.0.0.1", 0), Starting) as front:
        thread = threading.Thread(target=front.serve_forever)
        thread.start()
        waits = []
        env = {"TUNELINE_URL": f"http://127.0.0.1:{front.server_address[1]}", "TUNELINE_PATIENCE_S": "60"}
        found = ask(env, lambda client: client.healthz(), sleep=waits.append)
        front.shutdown()
        thread.join()
    assert found["home"] == str(tmp_path)
    assert waits == [0.25, 0.5]


def test_the_command_takes_a_bundle_and_says_what_it_is_now(bundle, tmp_path, request):
    request.getfixturevalue("server")
    arguments = ["import", str(bundle), "--base", str(tmp_path / "base")]
    first = CliRunner().invoke(cli, arguments)
    assert (first.exit_code, first.stdout) == (0, "m@1.0.0  approved: first release\n"), first.output
    again = CliRunner().invoke(cli, [*arguments, "--json"])
    said = json.loads(again.stdout)
    assert (said["release"], said["created"]) == ("m@1.0.0", False)
    assert said["reason"].startswith("imported before")


@pytest.mark.slow
def test_a_bundle_in_a_bucket_is_imported_from_there(bundle, tmp_path, s3, request):
    """A real S3 server in this process: about two seconds."""
    from tuneline.execute import objects  # noqa: PLC0415

    platform = request.getfixturevalue("server")
    files = [path for path in bundle.rglob("*") if path.is_file()]
    objects.upload(
        [(path, path.relative_to(bundle).as_posix()) for path in files], "s3://lines/runs/1/bundle"
    )
    shutil.rmtree(bundle)
    done = platform.importing.take("s3://lines/runs/1/bundle", str(tmp_path / "base"))
    assert (done["release"], done["state"]) == ("m@1.0.0", "approved")
    assert platform.ledger()[-1]["body"]["from"] == "s3://lines/runs/1/bundle"
