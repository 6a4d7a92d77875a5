"""`on:` of a project, and the file of defaults that has its shape: values, and faults at their lines."""

from pathlib import Path

import pytest

from tuneline.errors import SettingError, SpecError
from tuneline.spec.on_defaults import read_defaults
from tuneline.spec.project import apply, parse

SMALL = """name: demo
data: {source: rows.csv, prompt: "{text}", completion: " {label}"}
base_model: gemma-3-270m
"""
WRITTEN = """on:
  kubernetes:
    namespace: training
    requests: {cpu: 2, memory: 8Gi}
    node_selector: {disk: ssd, old: true}
    tolerations: [{key: gpu, operator: Exists, effect: NoExecute, tolerationSeconds: 60}]
    secret_env: {HF_TOKEN: huggingface/token}
    timeout: 6h
    steps:
      tune: {gpus: 2, spot: gke, timeout: 1d, image_pull_secrets: [registry]}
  airflow: {deferrable: false}
"""


def project(text):
    return parse(SMALL + text, Path("/project"))


def faults(text):
    with pytest.raises(SpecError) as caught:
        project(text)
    return caught.value.details


def test_only_what_is_written_is_written():
    found = project(WRITTEN).project.on
    assert found.written == {
        "kubernetes": {
            "namespace": "training",
            "requests": {"cpu": "2", "memory": "8Gi"},
            "node_selector": {"disk": "ssd", "old": "true"},
            "tolerations": [
                {"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}
            ],
            "secret_env": {"HF_TOKEN": "huggingface/token"},
            "timeout": 21600.0,
            "steps": {
                "tune": {"gpus": 2, "spot": "gke", "timeout": 86400.0, "image_pull_secrets": ["registry"]}
            },
        },
        "airflow": {"deferrable": False},
    }
    assert found.kubernetes.disk == "20Gi"
    assert project("").project.on.written == {"kubernetes": {}, "airflow": {}}


def test_a_key_of_it_is_changed_for_one_run_like_any_other():
    changed = apply(project(WRITTEN), {"on.kubernetes.gpus": "4", "on.kubernetes.steps": "{base: {gpus: 1}}"})
    assert changed.project.on.written["kubernetes"]["gpus"] == 4
    assert changed.project.on.written["kubernetes"]["steps"] == {"base": {"gpus": 1}}


def test_all_faults_are_told_at_once_each_at_its_line():
    found = faults("""on:
  kubernetes:
    gpu: 1
    service_account: Bad_Name
    requests: {cpu: 2, memory: lots}
    env: {HF_TOKEN: hf_123, LEVEL: high}
    secret_env: {HF_TOKEN: hf_456}
    tolerations:
      - {key: a, operator: exists, effekt: NoSchedule}
    steps:
      tune: {gpus: -1, namespace: other}
      score: 3
  airflow: {deferrable: maybe}
""")
    places = [fault.split(":")[1] for fault in found]
    assert places == ["6", "7", "8", "9", "10", "12", "12", "14", "14", "15", "16"]
    assert "nearest: `gpus`" in found[0]
    assert "`16Gi`" in found[2]
    assert "named in `secret_env`" in found[3]
    assert "nearest: `Exists`" in found[5]
    assert "nearest: `effect`" in found[6]
    assert "unknown key `namespace` in `on.kubernetes.steps.tune`" in found[8]


def test_no_fault_quotes_what_may_be_a_secret():
    said = " ".join(faults("on: {kubernetes: {env: {API_KEY: hf_123}, secret_env: {A: hf_456}}}\n"))
    assert "hf_" not in said


def test_the_defaults_are_a_file_of_the_same_shape(tmp_path):
    file = tmp_path / "on.yaml"
    file.write_text("kubernetes:\n  namespace: ours\n  steps: {elsewhere: {gpus: 1}}\n")
    assert read_defaults(file) == {
        "kubernetes": {"namespace": "ours", "steps": {"elsewhere": {"gpus": 1}}},
        "airflow": {},
    }
    file.write_text("")
    assert read_defaults(file) == read_defaults(None) == {"kubernetes": {}, "airflow": {}}


@pytest.mark.parametrize(
    "text, said",
    [("kubernetes: {gpu: 1}", "nearest: `gpus`"), ("kubernetes: [", "cannot be read"), (None, "cannot be")],
)
def test_a_file_of_defaults_that_cannot_be_used_is_a_setting_that_cannot(tmp_path, text, said):
    file = tmp_path / "on.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingError) as caught:
        read_defaults(file)
    assert "TUNELINE_ON" in caught.value.message
    assert said in caught.value.message + " ".join(caught.value.details)


@pytest.mark.parametrize(
    "toleration, said",
    [
        ("{key: gpu, operator: Exists, tolerationSeconds: 60}", "which `effect: NoExecute` alone takes"),
        ("{key: gpu, operator: Exists, value: x}", "which `operator: Exists` does not take"),
        ("{effect: NoSchedule}", "must have `operator: Exists`"),
    ],
)
def test_a_toleration_that_kubernetes_would_refuse_is_refused_here(toleration, said):
    with pytest.raises(SpecError) as raised:
        project(f"on: {{kubernetes: {{tolerations: [{toleration}]}}}}\n")
    assert any(said in each for each in raised.value.details)
