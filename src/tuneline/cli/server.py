"""`up`, `status`, `down`: this home's server and all it keeps running."""

import time
from dataclasses import replace
from typing import Any, Literal

import click

from tuneline.cli.connect import server, settings
from tuneline.cli.output import json_option, print_json, print_table, say, short_time
from tuneline.cli.progress import title
from tuneline.errors import TransientError
from tuneline.settings import Settings

GONE_S = 60.0
"""How long a server may take to end: it lets open requests finish first."""


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Exactly this one (0: any free one); default TUNELINE_PORT, or the next free one.",
)
@click.option(
    "--host",
    help="An address to listen at beside 127.0.0.1 (0.0.0.0: all); default TUNELINE_HOST.",
)
@click.option(
    "--images",
    type=click.Choice(["host", "containers"]),
    help="What the images of pipelines mean here; default TUNELINE_IMAGES.",
)
@click.option("-d", "--detach", is_flag=True, help="Start it in the background, if it is not running.")
@click.option("--child", is_flag=True, hidden=True, help="Started by another command, in the background.")
def up(
    port: int | None,
    host: str | None,
    images: Literal["host", "containers"] | None,
    detach: bool,
    child: bool,
) -> None:
    """Start this home's server: the API, the runner and the controller of endpoints. Ctrl-C stops it."""
    chosen = settings() if host is None else replace(settings(), host=host)
    chosen = chosen if images is None else replace(chosen, images=images)
    if detach:
        _detached(chosen, port)
        return
    from tuneline.wiring import serve  # noqa: PLC0415 - the server's imports, for this command alone

    def ready(info: Any) -> None:
        if not child:
            also = "" if info.listens == info.host else f", and at {info.listens} to whoever has a token,"
            say(f"tuneline answers at {info.url}{also} for {chosen.home}; Ctrl-C stops it.")

    serve(chosen, port, ready)


def _detached(chosen: Settings, port: int | None) -> None:
    if port is not None:
        raise click.UsageError("--detach takes no --port: set TUNELINE_PORT instead.")
    from tuneline.client import ensure_server  # noqa: PLC0415 - httpx, which no --help needs

    client, started = ensure_server(chosen)
    with client:
        say(f"{'Started' if started else 'It runs already:'} the server of {chosen.home}.")
        listens = client.status()["server"]["listens"]
        if listens != chosen.host:
            say(f"It listens at {listens}, not at {chosen.host}: `tuneline down --server` first.")
        click.echo(client.url)


@click.command()
@json_option
def status(as_json: bool) -> None:
    """What is running: the server, active runs, endpoints and what serves them."""
    from tuneline.client import find_server  # noqa: PLC0415 - httpx, which no --help needs

    client = find_server(settings())
    if client is None:
        body: dict[str, Any] = {"server": None, "runs": [], "endpoints": []}
        if as_json:
            print_json(body)
        say(f"No server is running for {settings().home}; `tuneline up -d` starts it.")
        return
    with client:
        body = client.status()
    if as_json:
        print_json(body)
        return
    here = body["server"]
    click.echo(f"server    {here['url']}  process {here['pid']}  version {here['version']}")
    if here["listens"] != "127.0.0.1":
        click.echo(f"listens   {here['listens']}, to whoever has a token")
    click.echo(f"home      {here['home']}")
    click.echo(f"since     {short_time(here['started_at'])}")
    rows = [[run["id"], title(run), run["state"], short_time(run["created_at"])] for run in body["runs"]]
    if rows:
        click.echo()
        print_table(["run", "project", "state", "created"], rows, "")
    if body["endpoints"]:
        click.echo()
        columns = ["endpoint", "phase", "live", "url", "revisions", "message"]
        print_table(columns, [_endpoint_row(found) for found in body["endpoints"]], "")
    tried = [found["rollout"] for found in body["endpoints"] if found.get("rollout")]
    if tried:
        click.echo()
        rows = [_rollout_row(found) for found in tried]
        print_table(["rollout", "tried", "beside", "requests", "now"], rows, "")


def _endpoint_row(found: dict[str, Any]) -> list[object]:
    revisions = " ".join(
        f"{revision['release']}:{revision['state']}" for revision in found.get("revisions") or ()
    )
    live = f"{found['live']} (forced)" if found.get("live_forced") else found["live"]
    shown = (found["name"], found["phase"], live, found["url"], revisions, found["message"])
    return [value or "-" for value in shown]


def _rollout_row(found: dict[str, Any]) -> list[object]:
    part = f"{found['weights'][found['release']]:g} %" + (" and copies" if found["shadow"] else "")
    now = f"{'LOOK AT IT: ' if found['alert'] else ''}{found['code'] or 'begun'}"
    now += ", forced" if found["forced"] else ""
    return [found["id"], found["release"], found["stable"], part, now]


@click.command()
@click.option(
    "--server",
    "only_server",
    is_flag=True,
    help="Only the server: endpoints go on answering, tasks go on, the next server takes them up.",
)
@json_option
def down(only_server: bool, as_json: bool) -> None:
    """Stop what `status` lists: the server and, unless --server, every router and runtime.

    A run that is under way goes on where it was when a server is up again.
    """
    from tuneline.client import find_server  # noqa: PLC0415 - httpx, which no --help needs

    client = find_server(settings())
    if client is None and not only_server and any(settings().endpoints.glob("*/*")):
        client = server(start=True)  # routers and runtimes outlive a killed server; a new one can stop them
    stopped = [] if client is None else _stop(client, only_server)
    if as_json:
        print_json({"stopped": stopped})
    elif not stopped:
        say(f"Nothing is running for {settings().home}.")
    for line in stopped if not as_json else ():
        click.echo(f"stopped {line}")


def _stop(client: Any, only_server: bool) -> list[str]:
    with client:
        before = client.status()
        client.shutdown(all=not only_server)
    _wait_until_gone(int(before["server"]["pid"]))
    stopped = [f"server (process {before['server']['pid']})"]
    if not only_server:
        stopped += [
            f"endpoint {found['name']}" + (f" ({found['live']})" if found["live"] else "")
            for found in before["endpoints"]
            if found["phase"] != "stopped"
        ]
    for run in before["runs"]:
        say(f"Run {run['id']} of {title(run)} is not finished; it goes on when the server is up again.")
    return stopped


def _wait_until_gone(pid: int) -> None:
    import psutil  # noqa: PLC0415 - no --help needs it

    deadline = time.monotonic() + GONE_S
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.NoSuchProcess:
            return
        time.sleep(0.02)
    raise TransientError(
        f"The server (process {pid}) has not ended within {GONE_S:.0f} s.", hint=f"Look at it: `ps {pid}`."
    )
