"""`init`, `check`, `config-schema`: what needs no server and starts none."""

import json
import subprocess

from tuneline.cli.loading import commit_of

PROJECT = """\
name: demo
data:
  source: rows.csv
  prompt: "R: {text}"
  completion: " {label}"
base_model: gemma-3-270m
gate:
  - accuracy >= 0.8
"""


def test_init_writes_a_project_without_faults_and_never_over_one(tuneline, tmp_path):
    made = tuneline("init", "demo")
    assert (made.code, made.out) == (0, "demo/tuneline.yaml\n")
    assert "tuneline run demo" in made.err
    assert tuneline("check", "demo").code == 0
    before = (tmp_path / "demo/tuneline.yaml").read_text()
    again = tuneline("init", "demo")
    assert (again.code, again.out) == (1, "")
    assert "demo/tuneline.yaml exists already" in again.err
    assert (tmp_path / "demo/tuneline.yaml").read_text() == before


def test_init_refuses_a_name_no_model_can_have(tuneline, tmp_path):
    ended = tuneline("init", "No Good")
    assert ended.code == 2
    assert "`No Good` cannot be a project's name" in ended.err
    assert not (tmp_path / "No Good").exists()


def test_check_names_every_fault_of_file_and_gate_at_once_at_its_line(tuneline, tmp_path):
    text = PROJECT.replace(
        "base_model: gemma-3-270m\n", "base_model: gemma-3-270m\ntrain: {lr: 1e-4, r: x}\n"
    )
    (tmp_path / "tuneline.yaml").write_text(text.replace("accuracy >= 0.8", "acuracy >= 0.8"))
    ended = tuneline("check")
    assert (ended.code, ended.out) == (2, "")
    lines = ended.err.splitlines()
    assert lines[0] == "error: The project has 3 faults; nothing ran."
    assert lines[1] == "  tuneline.yaml:7: unknown key `lr` in `train`; nearest: `learning_rate`"
    assert lines[2].startswith("  tuneline.yaml:7: `train.r` must be a whole number")
    assert lines[3].startswith("  tuneline.yaml:9: gate: `acuracy >= 0.8`")
    assert "nearest: `accuracy`" in lines[3]
    as_json = tuneline("check", "--json")
    assert as_json.code == 2
    assert json.loads(as_json.out) == {"ok": False, "faults": [line.strip() for line in lines[1:4]]}


def test_check_names_steps_that_the_project_has_not(tuneline, tmp_path):
    on = "on:\n  kubernetes:\n    steps:\n      score: {gpus: 1}\n      tuen: {gpus: 1}\n"
    (tmp_path / "tuneline.yaml").write_text(PROJECT + on)
    ended = tuneline("check")
    assert ended.code == 2
    what = "`on.kubernetes.steps` has `tuen`, which is no step of this project; nearest: `tune`"
    assert ended.err.splitlines()[1] == f"  tuneline.yaml:13: {what}"


def test_a_rule_over_a_slice_that_is_not_measured_is_a_fault(tuneline, tmp_path):
    (tmp_path / "tuneline.yaml").write_text(PROJECT.replace("accuracy >= 0.8", "slices.source.all(s, true)"))
    ended = tuneline("check")
    assert ended.code == 2
    assert "tuneline.yaml:8: gate: `slices.source" in ended.err


def test_a_fault_of_an_override_names_the_override(tuneline, tmp_path):
    (tmp_path / "tuneline.yaml").write_text(PROJECT)
    ended = tuneline("check", "-p", "train.rr=16", "-p", "train.r=0")
    assert ended.code == 2
    assert "-p train.rr=16: `train.rr` is not a key; nearest: `train.r`" in ended.err
    assert "-p train.r=0" in ended.err
    assert "-p gate" in tuneline("check", "-p", 'gate=["f1 >"]').err


def test_check_says_what_the_gate_can_decide_with_the_rows_there_are(tuneline, tmp_path):
    (tmp_path / "tuneline.yaml").write_text(PROJECT)
    few = tuneline("check", "--rows", "25")
    assert few.code == 0
    assert "with 25 held-out rows (as given)" in few.out
    assert "it takes 20 right" in few.out
    found = json.loads(tuneline("check", "--json").out)
    assert (found["ok"], found["rows"], len(found["gate"])) == (True, 400, 1)
    assert "guess" in found["rows_from"]


def test_an_empty_gate_is_said_to_pass_everything(tuneline, tmp_path):
    (tmp_path / "tuneline.yaml").write_text(PROJECT[: PROJECT.index("gate:")])
    assert "every candidate passes" in tuneline("check").out


def test_a_project_that_is_not_there_is_told_with_what_makes_one(tuneline):
    ended = tuneline("check", "nowhere")
    assert ended.code == 1
    assert "nowhere" in ended.err
    assert "tuneline init" in ended.err


def test_a_wrong_project_starts_no_server(tuneline, tmp_path):
    (tmp_path / "tuneline.yaml").write_text(PROJECT.replace("name: demo", "nam: demo"))
    assert tuneline("run").code == 2
    assert not (tmp_path / "home" / "server.json").exists()


def test_the_schema_is_json_on_stdout(tuneline):
    found = json.loads(tuneline("config-schema").out)
    assert found["additionalProperties"] is False
    assert "base_model" in found["properties"]


def test_a_run_knows_the_commit_of_its_project_and_whether_files_differ_from_it(tmp_path, monkeypatch):
    def git(*words):
        who = ("-c", "user.name=ann", "-c", "user.email=ann@example.org", "-c", "commit.gpgsign=false")
        command = ["git", *who, "-C", str(tmp_path), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    project = tmp_path / "demo"
    project.mkdir()
    (project / "tuneline.yaml").write_text(PROJECT)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit_of(project) == ""
    git("init", "-q")
    assert commit_of(project) == "", "nothing was committed"
    git("add", ".")
    git("commit", "-qm", "first")
    commit = git("rev-parse", "HEAD")
    assert commit_of(project) == commit
    (tmp_path / "elsewhere").write_text("x")
    assert commit_of(project) == commit
    (project / "train.py").write_text("x")
    assert commit_of(project) == f"{commit}+changes"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_of(project) == ""
