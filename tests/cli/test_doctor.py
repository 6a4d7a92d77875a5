"""What works on this machine: looked at for real, and in files as other machines have them."""

import json
import socket
from dataclasses import replace

import pytest
from tests.vllm_stand_in import home

from tuneline.cli.doctor import Finding, examine
from tuneline.settings import Settings


@pytest.fixture
def chosen(tmp_path):
    return Settings(home=tmp_path / "home", port=0)


def found(chosen, cpuinfo, what) -> Finding:
    return next(item for item in examine(chosen, cpuinfo) if item.what == what)


@pytest.mark.parametrize(
    "flags, ok",
    [
        ("flags : fpu avx512f avx512_bf16 amx_bf16", True),
        ("flags : fpu avx2", False),
        ("Features : fp asimd bf16 i8mm", True),
        ("Features : fp asimd", False),
    ],
)
def test_bfloat16_is_what_the_processor_says(chosen, tmp_path, flags, ok):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\n{flags}\n")
    item = found(chosen, tmp_path / "cpuinfo", "bfloat16")
    assert (item.ok, item.needed) == (ok, False)


def test_a_machine_without_cpuinfo_is_no_fault(chosen, tmp_path):
    assert not found(chosen, tmp_path / "none", "bfloat16").needed


def test_whatever_is_missing_comes_with_what_to_do(chosen, tmp_path):
    for item in examine(chosen, tmp_path / "none"):
        assert item.ok or item.fix, item


def test_a_taken_port_is_told_and_is_no_fault(chosen, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        item = found(replace(chosen, port=taken.getsockname()[1]), tmp_path / "none", "server")
    assert (item.ok, item.needed) == (False, False)
    assert "taken" in item.found


def test_doctor_needs_no_server_and_no_container_engine(tuneline, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = tuneline("doctor", "--json")
    shown = {item["what"]: item for item in json.loads(ended.out)}
    assert (shown["containers"]["ok"], shown["containers"]["needed"]) == (False, False)
    assert "not running" in shown["server"]["found"]
    assert ended.code == (0 if all(item["ok"] for item in shown.values() if item["needed"]) else 1)
    assert not (tmp_path / "home").exists()


def test_an_engine_that_does_not_answer_is_said_to(tmp_path, tuneline, monkeypatch):
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    shown = {item["what"]: item for item in json.loads(tuneline("doctor", "--json").out)}
    assert (shown["containers"]["ok"], shown["containers"]["found"]) == (
        False,
        f"{program}, whose engine does not answer",
    )


def test_vllm_is_looked_for_where_it_shall_be_and_is_no_need(chosen, tmp_path):
    there = replace(chosen, vllm_python=home(tmp_path / "vllm"))
    assert found(there, tmp_path / "none", "vllm").found.startswith("0.32.1, torch")
    item = found(replace(chosen, vllm_python=tmp_path / "nowhere"), tmp_path / "none", "vllm")
    assert (item.ok, item.needed) == (False, False)
    assert "nowhere" in item.found
    assert "pip install vllm" in item.fix


def test_a_task_environment_without_the_sdk_is_said(tmp_path, tuneline, monkeypatch):
    monkeypatch.setenv("TUNELINE_TASK_ENV", str(tmp_path / "none"))
    shown = {item["what"]: item for item in json.loads(tuneline("doctor", "--json").out)}
    assert shown["Python components"]["found"] == f"{tmp_path}/none has no Kubeflow SDK"
    monkeypatch.delenv("TUNELINE_TASK_ENV")
    shown = {item["what"]: item for item in json.loads(tuneline("doctor", "--json").out)}
    assert "the first task that needs it makes" in shown["Python components"]["found"]
