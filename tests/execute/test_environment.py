"""What of the server's environment a program gets, and what of a pipeline's."""

from pathlib import Path

from tuneline.execute.environment import of_program, of_tasks
from tuneline.execute.images import Call, Program
from tuneline.execute.images.engine import Engine, EngineImage
from tuneline.execute.images.own import OwnImage
from tuneline.settings import Settings

SERVERS = {
    "PATH": "/bin", "HOME": "/home/ann", "HF_HOME": "/hf", "PIP_INDEX_URL": "http://index",
    "AWS_PROFILE": "p", "AWS_SECRET_ACCESS_KEY": "s", "HF_TOKEN": "s", "GITHUB_TOKEN": "s", "KAGGLE_KEY": "s",
    "GOOGLE_APPLICATION_CREDENTIALS": "/key.json", "GITHUB_API_URL": "http://github",
}  # fmt: skip
LOGINS = {
    "AWS_PROFILE", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "GITHUB_TOKEN", "KAGGLE_KEY",
    "GOOGLE_APPLICATION_CREDENTIALS",
}  # fmt: skip


def kept(tmp_path: Path) -> dict[str, str]:
    return of_tasks(SERVERS, Settings(home=tmp_path), "")


def test_a_pipelines_program_does_not_get_the_logins_of_the_servers_user(tmp_path: Path) -> None:
    given, hidden = of_program(kept(tmp_path), {}, Program(command=("env",)))
    assert SERVERS.keys() - given.keys() == LOGINS
    assert hidden == []


def test_it_gets_those_that_its_pipeline_sets_itself(tmp_path: Path) -> None:
    given, _ = of_program(kept(tmp_path), {"HF_TOKEN": "its own"}, Program(command=("env",)))
    assert given["HF_TOKEN"] == "its own"


def test_our_own_steps_get_them(tmp_path: Path) -> None:
    program = OwnImage().program(
        Call(["tuneline", "step", "fetch"], ["--executor-input", "{}"], {}, tmp_path)
    )
    given, hidden = of_program(kept(tmp_path), {}, program)
    assert (SERVERS.keys() <= given.keys(), hidden) == (True, [])


def test_what_fetches_its_inputs_first_has_them_until_then(tmp_path: Path) -> None:
    given, hidden = of_program(
        kept(tmp_path), {"HF_TOKEN": "its own"}, Program(command=("env",)), fetching=True
    )
    assert SERVERS.keys() <= given.keys()
    assert set(hidden) == LOGINS - {"HF_TOKEN"}


def test_a_containers_path_and_home_are_not_those_of_the_engines_client(tmp_path: Path) -> None:
    env = {"PATH": "/opt/bin", "HOME": "/root", "DOCKER_AUTH_CONFIG": "hunter3", "PASSWORD": "hunter2"}
    program = EngineImage("alpine", Engine("/usr/bin/podman")).program(
        Call(["true"], [], {}, tmp_path, env=env)
    )
    given, _ = of_program(kept(tmp_path), env, program)
    assert (given["PATH"], given["HOME"], given["PASSWORD"]) == ("/bin", "/home/ann", "hunter2")
    command = " ".join(program.command)
    assert "--env PATH=/opt/bin --env HOME=/root --env DOCKER_AUTH_CONFIG --env PASSWORD " in command
    assert "hunter2" not in command
