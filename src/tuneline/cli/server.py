"""`up`, `status`, `down`: this home's server and all it keeps running."""

import time

import click

from tuneline.cli.output import json_option, print_json, print_table, say, server, settings
from tuneline.client import find_server
from tuneline.errors import TransientError, TunelineError


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Exactly this one; default TUNELINE_PORT, or the next free one.",
)
@click.option("--child", is_flag=True, hidden=True, help="Started by another command, in the background.")
def up(port: int | None, child: bool) -> None:
    """Start this home's server in the foreground: the API, the runner and the controller of endpoints."""
    from tuneline.wiring import serve  # noqa: PLC0415 - the server's imports, for this command alone

    serve(
        settings(),
        port,
        None if child else lambda info: say(f"tuneline answers at {info.url}; Ctrl-C stops it."),
    )


@click.command()
@json_option
def status(as_json: bool) -> None:
    """What is running: the server, active runs, endpoints and what serves them."""
    client = find_server(settings())
    if client is None:
        nothing: dict[str, object] = {"server": None, "runs": [], "endpoints": []}
        print_json(nothing) if as_json else say(
            f"No server is running for {settings().home}; `tuneline up` starts it."
        )
        return
    with client:
        body = client.status()
    if as_json:
        print_json(body)
        return
    here = body["server"]
    click.echo(
        f"server     {here['url']}  pid {here['pid']}  home {here['home']}  since {here['started_at']}"
    )
    for run in body["runs"]:
        click.echo(f"run        {run['id']}  {run['project']}  {run['state'].lower()}")
    rows = [
        [
            found["name"],
            found["phase"],
            found["live"] or "-",
            found["url"] or "-",
            _processes(found),
            found["message"],
        ]
        for found in body["endpoints"]
    ]
    print_table(["endpoint", "phase", "live", "url", "revisions", "message"], rows, "No endpoints yet.")


@click.command()
@click.option(
    "--server",
    "only_server",
    is_flag=True,
    help="Only the server: endpoints go on answering, tasks go on running.",
)
@json_option
def down(only_server: bool, as_json: bool) -> None:
    """Stop what `status` lists: the server and, unless --server, every router and runtime."""
    client = find_server(settings())
    if client is None:
        # Routers and runtimes outlive a killed server; a new one adopts them, so that it can stop them.
        if only_server or not any(settings().endpoints.glob("*/holder.json")):
            print_json({"stopped": []}) if as_json else say("Nothing is running.")
            return
        client = server()
    with client:
        before = client.status()
        client.shutdown(all=not only_server)
        _wait_until_gone(before["server"]["pid"])
    stopped = [f"server {before['server']['pid']}"]
    if not only_server:
        stopped += [
            f"endpoint {found['name']}" for found in before["endpoints"] if found["phase"] != "stopped"
        ]
    print_json({"stopped": stopped}) if as_json else say("Stopped: " + ", ".join(stopped) + ".")


def _wait_until_gone(pid: int, seconds: float = 60.0) -> None:
    import psutil  # noqa: PLC0415 - for this command alone

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.NoSuchProcess:
            return
        time.sleep(0.02)
    raise TransientError(
        f"The server (process {pid}) has not ended within {seconds:.0f} s.", hint=f"Look at it: `ps {pid}`."
    )


def _processes(endpoint: dict[str, object]) -> str:
    revisions = endpoint.get("revisions")
    if not isinstance(revisions, list):
        raise TunelineError("The server's answer has no revisions.")
    return " ".join(f"{found['release']}:{found['state']}" for found in revisions)
