"""Python components in real processes: the task environment, packages over it, and what goes wrong with them.

Packages come from an index in a folder: nothing here asks the network.
"""

import json
import os
import signal
import threading
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.execute.conftest import MakeRunner
from tests.execute.doubles import EventLog, submitted
from tests.kubeflow import TASK_ENV, component

from tuneline.errors import SpecError
from tuneline.execute.images import MachineImages
from tuneline.execute.images.environments import Environments
from tuneline.execute.images.interpreters import Interpreter, Interpreters
from tuneline.execute.images.lightweight import Install
from tuneline.execute.layers import is_ready
from tuneline.execute.runner import Runner
from tuneline.plan.events import AttemptStarted, RunEnded
from tuneline.settings import Settings
from tuneline.types import RunId

pytestmark = pytest.mark.slow


@pytest.fixture
def python(make_runner: MakeRunner, tmp_path: Path, env: Mapping[str, str]) -> Runner:
    """A runner whose images are those of this machine."""
    assert TASK_ENV.is_dir(), "make .venv-task/.ready makes the environment that Python components run in"
    settings = Settings(home=tmp_path, task_env=TASK_ENV)
    return make_runner(images=MachineImages(settings, {**env, "PIP_CACHE_DIR": str(tmp_path / "pip")}))


@pytest.fixture
def index(tmp_path: Path) -> str:
    """Options of pip for an index with the package `greeting`, versions 1.0 and 2.0."""
    folder = tmp_path / "simple" / "greeting"
    folder.mkdir(parents=True)
    links = []
    for version in ("1.0", "2.0"):
        name = f"greeting-{version}-py3-none-any.whl"
        with zipfile.ZipFile(folder / name, "w") as wheel:
            info = f"greeting-{version}.dist-info"
            wheel.writestr("greeting.py", f"TEXT = 'hello {version}'\n")
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: greeting\nVersion: {version}\n")
            tags = "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            wheel.writestr(f"{info}/WHEEL", tags)
            wheel.writestr(f"{info}/entry_points.txt", "[console_scripts]\ngreet = greeting:main\n")
            wheel.writestr(f"{info}/RECORD", "")
        links.append(f'<a href="{name}">{name}</a>')
    (folder / "index.html").write_text("<!DOCTYPE html><html><body>" + "\n".join(links) + "</body></html>")
    return f"--index-url {folder.parent.as_uri()} "


def pipeline(**containers: dict[str, Any]) -> dict[str, Any]:
    """IR of independent tasks, each with one output parameter `Output`."""
    tasks, components, executors = {}, {}, {}
    for name, container in containers.items():
        outputs = {"parameters": {"Output": {"parameterType": "STRING"}}}
        components[f"comp-{name}"] = {"executorLabel": f"exec-{name}", "outputDefinitions": outputs}
        executors[f"exec-{name}"] = {"container": container}
        tasks[name] = {"componentRef": {"name": f"comp-{name}"}}
    return {
        "pipelineInfo": {"name": "python"},
        "components": components,
        "deploymentSpec": {"executors": executors},
        "root": {"dag": {"tasks": tasks}},
        "schemaVersion": "2.1.0",
    }


def run(runner: Runner, log: EventLog, ir: dict[str, Any], id: str = "r1") -> RunEnded:
    runner.start(submitted(id, ir), log.lease(id))
    assert runner.wait(50, RunId(id)), log.of(id)
    ended = log.of(id)[-1]
    assert isinstance(ended, RunEnded)
    return ended


def outputs(log: EventLog, id: str = "r1") -> dict[str, Any]:
    found = (event for event in log.of(id) if event.kind == "task_succeeded")
    return {event.task: event.outputs.parameters["Output"] for event in found}  # type: ignore[attr-defined]


def started(log: EventLog, task: str, id: str = "r1") -> AttemptStarted:
    return next(e for e in log.of(id) if isinstance(e, AttemptStarted) and e.task == task)


GREET = "def greet() -> str:\n    import greeting\n    return greeting.TEXT\n"
WHERE = "def where() -> str:\n    import sys\n    return f'{sys.prefix} {sys.executable} {sys.path[0]}'\n"


def test_a_component_runs_in_the_task_environment_without_its_preamble(
    python: Runner, log: EventLog, tmp_path: Path
) -> None:
    assert run(python, log, pipeline(t=component("where", WHERE, version="2.14.3"))).state == "SUCCEEDED"
    folder = tmp_path / "runs" / "r1" / "t" / "1"
    assert outputs(log)["t"] == f"{TASK_ENV} {TASK_ENV}/bin/python {folder}/program"
    assert not (tmp_path / "environments").exists()


def test_a_component_ends_as_an_interpreter_does(python: Runner, log: EventLog) -> None:
    """Threads are waited for, `multiprocessing` finds its main module, exit handlers run."""
    source = (
        "def f() -> str:\n"
        "    import atexit, multiprocessing, threading, time\n"
        "    threading.Thread(target=lambda: (time.sleep(0.1), print('thread done'))).start()\n"
        "    atexit.register(print, 'exit done')\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        return str(pool.apply(abs, (-3,)))\n"
    )
    assert run(python, log, pipeline(t=component("f", source))).state == "SUCCEEDED"
    printed = (Path(started(log, "t").folder) / "log.txt").read_text().splitlines()
    assert outputs(log) == {"t": "3"}
    assert [line for line in printed if line.endswith(" done")] == ["thread done", "exit done"]


def test_a_component_that_raises_fails_with_its_traceback(python: Runner, log: EventLog) -> None:
    source = "def f() -> str:\n    raise RuntimeError('broken on purpose')\n"
    ended = run(python, log, pipeline(t=component("f", source)))
    assert ended.state == "FAILED"
    assert ended.error is not None
    assert ended.error["details"][-1] == "RuntimeError: broken on purpose"
    assert "shim.py" not in (Path(started(log, "t").folder) / "log.txt").read_text()


def test_the_executor_s_own_log_has_no_secrets(python: Runner, log: EventLog, tmp_path: Path) -> None:
    """What it logs first is all that a component is given."""
    source = "def f(token: str, other: str) -> str:\n    return str(len(token))\n"
    ir = pipeline(t=component("f", source))
    inputs = {name: {"parameterType": "STRING"} for name in ("token", "other")}
    ir["components"]["comp-t"]["inputDefinitions"] = {"parameters": inputs}
    given = {"token": 'my-"quoted"-secret', "other": 'before my-"quoted"-secret after'}
    values = {name: {"runtimeValue": {"constant": value}} for name, value in given.items()}
    ir["root"]["dag"]["tasks"]["t"]["inputs"] = {"parameters": values}
    assert run(python, log, ir).state == "SUCCEEDED"
    assert outputs(log) == {"t": "18"}
    text = (Path(started(log, "t").folder) / "log.txt").read_text()
    assert '"token": "***"' in text
    assert '"other": "before *** after"' in text
    assert "quoted" not in text


def test_another_version_of_python_is_noted(python: Runner, log: EventLog) -> None:
    ir = pipeline(t=component("where", WHERE, image="python:3.9-slim"))
    assert run(python, log, ir).state == "SUCCEEDED"
    (note,) = started(log, "t").notes
    assert note.startswith("asks for the image python:3.9-slim; ran on Python 3.")


def test_packages_are_installed_once_over_the_task_environment(
    python: Runner, log: EventLog, tmp_path: Path, index: str
) -> None:
    """Two tasks at once; a third one later does not install anything."""
    greet = component("greet", GREET, "greeting<2", options=index)
    ended = run(python, log, pipeline(a=greet, b=greet, c=component("where", WHERE, venv=True)))
    assert ended.state == "SUCCEEDED", ended.error
    assert outputs(log)["a"] == outputs(log)["b"] == "hello 1.0"
    assert outputs(log)["c"].startswith(str(TASK_ENV))
    logs = [(Path(started(log, task).folder) / "log.txt").read_text() for task in ("a", "b")]
    assert sum("Successfully installed greeting-1.0" in text for text in logs) == 1
    (made,) = [path for path in (tmp_path / "environments").iterdir() if path.is_dir()]
    first = (made / "bin" / "greet").read_text().splitlines()[0]
    assert first == f"#!{made}/bin/python"
    assert run(python, log, pipeline(a=greet), "r2").state == "SUCCEEDED"
    assert "Installing" not in (Path(started(log, "a", "r2").folder) / "log.txt").read_text()
    assert not list(TASK_ENV.glob("lib/python3*/site-packages/greeting*"))


def test_a_script_of_sdk_v1_gets_its_packages_once(
    python: Runner, log: EventLog, tmp_path: Path, index: str
) -> None:
    pip = f"PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install --quiet {index}'greeting'"
    preamble = f'({pip} || {pip} --user) && "$0" "$@"'
    program = 'program_path=$(mktemp)\nprintf "%s" "$0" > "$program_path"\npython3 -u "$program_path" "$@"\n'
    source = "import greeting, sys\nwith open(sys.argv[1], 'w') as file:\n    file.write(greeting.TEXT)\n"
    command = ["sh", "-c", preamble, "sh", "-ec", program, source]
    args = ["{{$.outputs.parameters['Output'].output_file}}"]
    ir = pipeline(t={"image": "python:3.7", "command": command, "args": args})
    for id in ("r1", "r2"):
        assert run(python, log, ir, id).state == "SUCCEEDED"
        assert outputs(log, id) == {"t": "hello 2.0"}
    assert "Installing" not in (Path(started(log, "t", "r2").folder) / "log.txt").read_text()


def test_pip_s_failure_is_the_task_s_with_pip_s_last_lines(
    python: Runner, log: EventLog, tmp_path: Path, index: str
) -> None:
    options = f"{index}--extra-index-url http://me:pass@127.0.0.1:9/simple "
    greet = component("greet", GREET, "greeting==9", options=options)
    greet["env"] = [{"name": "PIP_RETRIES", "value": "0"}]
    ended = run(python, log, pipeline(t=greet))
    assert (ended.state, ended.error is not None) == ("FAILED", True)
    assert ended.error is not None
    assert "could not be installed" in ended.error["message"]
    assert "No matching distribution found for greeting==9" in ended.error["details"][-1]
    assert ended.error["retry"] is True
    assert "me:pass" not in json.dumps(ended.error)
    assert "me:pass" not in (Path(started(log, "t").folder) / "log.txt").read_text()
    assert [path.suffix for path in (tmp_path / "environments").iterdir()] == [".lock"]


def test_an_environment_whose_making_was_killed_is_made_again(
    python: Runner, log: EventLog, tmp_path: Path, index: str
) -> None:
    greet = component("greet", GREET, "greeting", options=index)
    runs = tmp_path / "environments"
    killer = threading.Thread(target=_kill_when, args=(lambda: list(runs.glob("*/bin/python")), log))
    killer.start()
    assert run(python, log, pipeline(t=greet)).state == "SUCCEEDED"
    killer.join()
    assert log.kinds("r1", "t") == ["attempt_started", "attempt_failed", "attempt_started", "task_succeeded"]
    assert outputs(log) == {"t": "hello 2.0"}


def _kill_when(begun: Callable[[], object], log: EventLog) -> None:
    deadline = time.monotonic() + 20
    while not begun() and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(started(log, "t").pid, signal.SIGKILL)


def test_any_other_command_of_a_python_image_installs_into_the_attempt_only(
    python: Runner, log: EventLog, tmp_path: Path, index: str
) -> None:
    script = f"pip install -q {index} greeting && python -c 'import greeting; print(greeting.__file__)' >$0"
    container = {
        "image": "python:3.11",
        "command": ["sh", "-c", script],
        "args": ["{{$.outputs.parameters['Output'].output_file}}"],
    }
    assert run(python, log, pipeline(t=container)).state == "SUCCEEDED"
    assert outputs(log)["t"].startswith(str(tmp_path / "runs" / "r1" / "t" / "1" / "python"))
    assert not (tmp_path / "environments").exists()


def test_a_task_environment_is_made_by_the_first_task_that_needs_it(
    make_runner: MakeRunner, log: EventLog, tmp_path: Path, env: Mapping[str, str], index: str
) -> None:
    """It cannot be had from this index: what is looked at is that the task says so, and leaves nothing."""
    environment = {**env, "PIP_INDEX_URL": index.split()[1], "PIP_CONFIG_FILE": os.devnull}
    environment.pop("PIP_FIND_LINKS", None)
    images = MachineImages(Settings(home=tmp_path), environment)
    ended = run(make_runner(images=images, env=environment), log, pipeline(t=component("where", WHERE)))
    assert ended.error is not None
    assert "No matching distribution found for kfp==2.17.0" in ended.error["details"][-1]
    text = (Path(started(log, "t").folder) / "log.txt").read_text()
    assert text.startswith("Installing Kubeflow's SDK (kfp==2.17.0)")
    assert not is_ready(str(tmp_path / "environments" / "kfp"))
    assert not (tmp_path / "environments" / "kfp").exists()


def test_a_task_environment_that_another_task_is_making_counts_as_it_will_be(tmp_path: Path) -> None:
    """What a component asks for is not looked for in a half-made folder, and then installed a second time."""
    version = Interpreter.own()
    wanted = version.version[:2]
    kfp, more = Install(("kfp==2.17.0",), no_deps=True), Install(("greeting",))
    before = Environments(tmp_path).of(wanted, [more, kfp], {})
    (tmp_path / "kfp" / "lib" / f"python{wanted[0]}.{wanted[1]}" / "site-packages").mkdir(parents=True)
    during = Environments(tmp_path)
    assert during.of(wanted, [kfp], {}).python == str(tmp_path / "kfp" / "bin" / "python")
    assert during.of(wanted, [more, kfp], {}) == before


def test_what_cannot_run_is_refused_before_anything_does(python: Runner, log: EventLog) -> None:
    inside = {"image": "python:3.11", "command": ["python3", "-m", "kfp.dsl.executor_main"]}
    ir = pipeline(
        a=component("where", WHERE, image="python:3.99"),
        b=component("where", WHERE, image="python:2.7"),
        c=inside,
        d={"image": "tensorflow/tensorflow:2.16", "command": ["python"]},
    )
    with pytest.raises(SpecError) as refused:
        python.start(submitted("r1", ir), log.lease("r1"))
    assert [detail.partition(":")[0] for detail in refused.value.details][:3] == [
        f"component `comp-{name}`" for name in "abc"
    ]
    assert "it needs Python 3.99, and the newest on this machine is 3." in refused.value.details[0]
    assert "only Python 3 is supported" in refused.value.details[1]
    assert log.of("r1") == []


def test_a_task_environment_that_is_none_is_said_at_once(tmp_path: Path) -> None:
    fault = Environments(tmp_path, tmp_path / "nothing", Interpreters()).fault((3, 11))
    assert fault is not None
    assert fault.startswith(f"TUNELINE_TASK_ENV is {tmp_path}/nothing")
