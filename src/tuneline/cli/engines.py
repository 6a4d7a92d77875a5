"""`--runner` and `--url`: which engine executes a run, and who this user is there.

The login is read from this command's environment and sent to the server, which keeps it in a file of the run
that only its user may read: a server started yesterday knows no variable of today's shell.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

LOCAL = "local"
_VARIABLES = {
    "kubeflow": ("TUNELINE_KFP_URL", {"token": "TUNELINE_KFP_TOKEN"}),
    "airflow": (
        "TUNELINE_AIRFLOW_URL",
        {
            "token": "TUNELINE_AIRFLOW_TOKEN",
            "user": "TUNELINE_AIRFLOW_USER",
            "password": "TUNELINE_AIRFLOW_PASSWORD",
        },
    ),
}


def runner_options(command: Command) -> Command:
    """Add the options that choose an engine."""
    kinds = click.Choice([LOCAL, *_VARIABLES])
    for option in (
        click.option("--image", help="In place of `tuneline` for its own steps, where Kubeflow runs them."),
        click.option(
            "--root", metavar="URI", help="Where Kubeflow puts artifacts; default: as it is set up."
        ),
        click.option("--dag", help="Airflow's name of the exported pipeline; default: the project's name."),
        click.option(
            "--url", metavar="URL", help="The runner's API; default TUNELINE_KFP_URL or TUNELINE_AIRFLOW_URL."
        ),
        click.option("--runner", type=kinds, default=LOCAL, show_default=True, help="What executes it."),
    ):
        command = option(command)
    return command


def engine(runner: str, url: str | None, env: Mapping[str, str] | None = None, **options: str | None) -> Any:
    """The engine as `Client.submit` takes it; None for this machine.

    Raises: UsageError for options that do not belong to the runner; SettingError for its address.
    """
    named = {name: value for name, value in options.items() if value}
    allowed = {LOCAL: (), "kubeflow": ("experiment", "image", "root"), "airflow": ("dag",)}[runner]
    wrong = [f"--{name}" for name in named if name not in allowed] + (
        ["--url"] if url and runner == LOCAL else []
    )
    if wrong:
        raise click.UsageError(f"{', '.join(sorted(wrong))}: not for --runner {runner}.")
    if runner == LOCAL:
        return None
    from tuneline.plan.engine import engine_of  # noqa: PLC0415 - for this option alone

    known = os.environ if env is None else env
    variable, logins = _VARIABLES[runner]
    chosen = engine_of({"kind": runner, "url": url or known.get(variable, ""), "options": named})
    login = {key: known[name].strip() for key, name in logins.items() if known.get(name, "").strip()}
    return {**chosen.to_json(), "login": login}
