"""`tuneline run`: a project or a pipeline to the server, its picture while it runs, its report when it has
ended."""

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuneline.cli import exits, outcome, report
from tuneline.cli.compiling import compiled, interpreters, target_of
from tuneline.cli.connect import Link, server, settings
from tuneline.cli.engines import LOCAL, engine, runner_options
from tuneline.cli.errors import show_error
from tuneline.cli.following import follow, screen, settled, tell_notices, wait_until_live
from tuneline.cli.loading import load_project, overrides_option, parsed_overrides, submit
from tuneline.cli.output import json_option, print_json, say
from tuneline.cli.packages import Package, is_package, of_text, read_package
from tuneline.cli.parameters import read_values, typed
from tuneline.errors import NotFoundError, SpecError, TunelineError

if TYPE_CHECKING:
    from tuneline.client import Client

TAIL_BYTES, TAIL_LINES = 4096, 15
"""How much of a failed task's log is shown."""
FAILURES = 5
"""How many failed tasks are told one by one."""

kfp_python_option = click.option(
    "--kfp-python",
    type=click.Path(path_type=Path),
    envvar="TUNELINE_KFP_PYTHON",
    help="A Python that has KFP's SDK, for pipeline.py; default TUNELINE_KFP_PYTHON, or one that is found.",
)
images_option = click.option(
    "--images",
    type=click.Choice(["host", "containers"]),
    help="What images mean to it: host runs their commands as processes here; default TUNELINE_IMAGES.",
)
no_cache_option = click.option("--no-cache", is_flag=True, help="Run every task, also in nested pipelines.")


@click.command()
@click.argument("what", metavar="[PROJECT|PIPELINE]", default=".")
@overrides_option
@click.option("--params", "file", type=click.Path(path_type=Path), help="A YAML or JSON file of parameters.")
@click.option(
    "--experiment", metavar="NAME", help="The experiment it belongs to; it is made if there is none."
)
@click.option("--name", help="The run's own name.")
@no_cache_option
@images_option
@kfp_python_option
@runner_options
@click.option("-d", "--detach", is_flag=True, help="Print the run's id and do not follow it.")
@json_option
def run(
    what: str,
    params: tuple[str, ...],
    file: Path | None,
    experiment: str | None,
    name: str | None,
    no_cache: bool,
    images: str | None,
    kfp_python: Path | None,
    runner: str,
    url: str | None,
    dag: str | None,
    root: str | None,
    image: str | None,
    detach: bool,
    as_json: bool,
) -> None:
    """Run a PROJECT (a folder with tuneline.yaml, or a file) and follow it until its release answers; or any
    PIPELINE of Kubeflow Pipelines: pipeline.yaml (.json, .zip, .tar.gz), pipeline.py or pipeline.py:function.

    Exit codes: 0 done (a project: released and answering), 1 failed, 2 the project, the pipeline or a
    parameter is wrong, 130 Ctrl-C, which ends the following and not the run. Of a project also 3 the gate
    refused, 4 approval pending, 6 nothing changed.
    """
    package = pipeline_of(what, kfp_python)
    away = runner != LOCAL
    chosen = engine(runner, url, experiment=experiment if away else None, dag=dag, root=root, image=image)
    if away and (images or (name and package is None)):
        raise click.UsageError("--images is for pipelines on this machine, --name for pipelines.")
    if package is None:
        if not away and (name or experiment or images):
            words = "--name, --experiment and --images are for pipelines"
            raise click.UsageError(f"{words}: a project names its own runs, and has its own images.")
        loaded = load_project(Path(what), params if file is None else (*_as_overrides(file), *params))
        with server(start=True) as client:
            started = submit(client, loaded, no_cache=no_cache, runner=chosen)
            _go_on(client, started, detach, as_json)
        return
    package = package.without_cache() if no_cache else package
    check_pipeline(package.document, package.path)
    values = typed(package.inputs, parsed_overrides(params), read_values(file) if file else {})
    if chosen is not None:
        with server(start=True) as client:
            started = client.submit(package.document, values, {"name": name or ""}, chosen)
            _go_on(client, started, detach, as_json)
        return
    from tuneline.client import kfp  # noqa: PLC0415 - httpx, which no --help needs

    named = name or f"{package.name} {datetime.now():%Y-%m-%d %H-%M-%S}"  # noqa: DTZ005 - as KFP's SDK names them
    with server(start=True) as client:
        document = package.document
        id = kfp.start_run(client, document, values, name=named, experiment=experiment, images=images)
        _go_on(client, {"id": id, "project": package.name, "state": "PENDING"}, detach, as_json)


def pipeline_of(what: str, kfp_python: Path | None) -> Package | None:
    """The pipeline that `what` names, compiled if it is Python; None if it names a project."""
    target = target_of(what)
    if target is not None:
        pythons = interpreters(kfp_python, settings().home, os.environ)
        return of_text(compiled(target, pythons, kfp_python is not None, os.environ), what)
    return read_package(Path(what)) if is_package(Path(what)) else None


def check_pipeline(ir: Mapping[str, Any], path: str) -> None:
    """Raises SpecError, with every fault, if this is no pipeline that could run."""
    from tuneline_ir import IRError, parse  # noqa: PLC0415 - parsers are for those who have something to parse

    try:
        parse(ir)
    except IRError as error:
        count = "a fault" if len(error.faults) == 1 else f"{len(error.faults)} faults"
        raise SpecError(f"{path} has {count}; nothing ran.", details=list(error.faults)) from error


def _go_on(client: "Client", started: Mapping[str, Any], detach: bool, as_json: bool) -> None:
    id, runner = str(started["id"]), started.get("runner") or {}
    if runner:
        say(f"Run {id} is {runner['id']} of {runner['kind']}: {runner['link'] or runner['url']}")
    if not detach:
        raise click.exceptions.Exit(follow_to_the_end(client, id, as_json))
    if as_json:
        about = {"run": id, "project": started["project"], "state": started["state"]}
        print_json(about | ({"runner": runner} if runner else {}))
    else:
        click.echo(id)
    say(f"Follow it with `tuneline runs show -f {id}`.")


def _as_overrides(file: Path) -> list[str]:
    import json  # noqa: PLC0415 - for this option alone

    return [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in read_values(file).items()
    ]


def follow_to_the_end(client: "Client", id: str, as_json: bool) -> int:
    """Follow a run and its release, print the report (or the object) of both; the exit code."""
    link = Link(client)
    try:
        with screen() as shown:
            ended = settled(link, follow(link, id, shown))
            told = 0 if as_json else tell_notices(link, id, shown)
            endpoint = wait_until_live(link, ended, shown)
            if endpoint is not None and not as_json:
                tell_notices(link, id, shown, told)
        if as_json and not outcome.is_line(ended):
            ended = link(lambda client: client.run(id))
        tails = {} if outcome.is_line(ended) else log_tails(link, ended)
    except KeyboardInterrupt:
        say(
            f"\nRun {id} goes on. Come back: `tuneline runs show -f {id}`. "
            f"Its logs: `tuneline runs logs -f {id}`. End it: `tuneline runs cancel {id}`."
        )
        return exits.INTERRUPTED
    finally:
        link.client.close()
    if not outcome.is_line(ended):
        return _tell_outcome(ended, tails, as_json)
    if as_json:
        print_json(report.json_object(ended, endpoint))
    else:
        click.echo("\n".join(report.lines(ended, endpoint)))
    say_why(ended, endpoint)
    return report.exit_code(ended, endpoint)


def _tell_outcome(ended: report.View, tails: dict[str, str], as_json: bool) -> int:
    if as_json:
        print_json(outcome.json_object(ended))
    else:
        click.echo("\n".join(outcome.lines(ended)))
    say_why(ended, None, tails)
    return exits.OK if ended["state"] == "SUCCEEDED" else exits.FAILURE


def log_tails(link: Link, ended: report.View) -> dict[str, str]:
    """The ends of the failed tasks' logs, of the first few, by task; none where the error has it already."""
    found = {}
    for task in outcome.failures(ended["tasks"])[:FAILURES]:
        name = str(task["name"])
        if (task["error"] or {}).get("details"):
            continue
        try:
            piece = link(lambda client, name=name: client.logs(ended["id"], name, offset=-TAIL_BYTES))  # type: ignore[misc]
        except NotFoundError:  # it made no attempt
            continue
        found[name] = "\n".join(piece["text"].splitlines()[-TAIL_LINES:])
    return found


def say_why(ended: report.View, endpoint: report.View | None, tails: dict[str, str] | None = None) -> None:
    """What went wrong and what to do, or that nothing changed, on stderr; nothing if it released.

    tails: ends of logs by task.
    """
    id, code = ended["id"], report.exit_code(ended, endpoint)
    if ended["state"] == "FAILED":
        _say_failures(ended, tails or {})
        say(f"again, from there: tuneline runs retry {id}")
    elif ended["state"] == "CANCELED":
        say(f"Run {id} was canceled. Go on with it: `tuneline runs retry {id}`.")
    elif code == exits.NOTHING_TO_DO:
        release = ended["report"]["release"]["release"]
        say(f"Nothing changed: the result is identical to {release}, so there is nothing to release.")
    elif code == exits.APPROVAL_PENDING:
        _say_pending((ended["report"] or {}).get("release") or {})
    elif code == exits.GATE_REFUSED:
        said = ended["report"].get("release") or {}
        passed = (ended["report"].get("verdict") or {}).get("passed") and said
        why = f"{said['release']} is {said['state']}" if passed else "the gate refused"
        say(f"Nothing was released: {why}. What was live stays live.")
    elif code == exits.FAILURE and endpoint is not None:
        hint = "`tuneline status` shows the endpoint; its log is in the home's folder `endpoints`."
        say(f"error: {endpoint['name']} did not take the release over: {endpoint['message']}\nhint: {hint}")


def _say_pending(release: report.View) -> None:
    name = release.get("release")
    if not name:  # there was no server to propose it to
        say(f"Nothing was released: {release.get('reason')}.")
        return
    say(f"{name} passed its gate and waits for approval; what is live stays live. Say yes or no:")
    say(f'  tuneline releases approve {name} --comment "..."')
    say(f'  tuneline releases reject {name} --comment "..."')
    say("Once approved, it goes on to its endpoint by itself; this run has ended.")


def _say_failures(ended: report.View, tails: dict[str, str]) -> None:
    failed = report.failures(ended)
    for task, error in failed[:FAILURES]:
        said = {"message": f"Task {task} failed.", **error}
        if task and not outcome.is_line(ended):  # a project's steps say in their errors which they are
            said["message"] = f"{task}: {said['message']}"
        show_error(TunelineError.from_json(said))
        if tails.get(task):
            say("\n".join(f"  | {line}" for line in tails[task].splitlines()))
        if task:
            say(f"log: {log_place(ended, task)}")
    if len(failed) > FAILURES:
        say(f"{len(failed) - FAILURES} more tasks failed: `tuneline runs show {ended['id']}` shows them.")


def log_place(ended: report.View, task: str) -> str:
    """Where a task's log is: its file if it is on this machine, else the command that shows it."""
    attempts = next((found["attempts"] for found in ended["tasks"] if found["name"] == task), 0)
    file = settings().runs / str(ended["id"]) / task / str(attempts) / "log.txt"
    command = f"tuneline runs logs {ended['id']} {task}"
    return f"{file}  ({command})" if file.is_file() else command
