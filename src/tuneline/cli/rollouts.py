"""Commands about what takes over from what: `rollout`, `promote`, `rollback`."""

import time
from typing import Any

import click

from tuneline.cli import exits
from tuneline.cli.connect import server
from tuneline.cli.output import json_option, print_json, say, short_time
from tuneline.errors import TransientError, UserError

LOOK_S = 1.0
TAKES_OVER_S = 180.0
"""How long `promote` and `rollback` wait."""


@click.group()
def rollout() -> None:
    """Try a release beside the live one; tests decide whether it takes over."""


@rollout.command()
@click.argument("endpoint")
@click.argument("release")
@click.option("--canary", metavar="STAGES", help="Parts of the requests, one after another: 5%,25%,100%.")
@click.option("--ab", metavar="PART", help="One part of the requests until the two can be told apart: 50%.")
@click.option("--shadow", is_flag=True, help="First, or alone, copies of requests whose answers nobody gets.")
@click.option("--every", metavar="TIME", help="The least time in a stage, e.g. 10m.")
@click.option("--min-requests", type=click.IntRange(1), help="Of the candidate in every stage.")
@click.option("--max-duration", metavar="TIME", help="After which an undecided rollout is told of, e.g. 1d.")
@click.option("--alpha", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Of all tests.")
@click.option("--margin", "margins", multiple=True, metavar="METRIC=N", help="How much worse it may be.")
@click.option("--metric", "metrics", multiple=True, metavar="METRIC", help="What promotion waits for.")
@click.option("--error-budget", type=click.IntRange(0), help="Failed answers that end it; 0: the tests say.")
@click.option("--slow-ms", type=click.FloatRange(0), help="A slow answer takes longer; 0: as the live one.")
@click.option("--force", is_flag=True, help="Also a release that was rejected; the ledger says who and why.")
@click.option("--why", default="", help="For the ledger.")
@json_option
def start(endpoint: str, release: str, force: bool, why: str, as_json: bool, **options: Any) -> None:
    """Try RELEASE (MODEL@VERSION) at ENDPOINT, as its project says or as given here."""
    with server() as client:
        found = client.start_rollout(endpoint, release, plan_of(options), force=force, why=why)
    if as_json:
        print_json(found)
        return
    under_way = found["rollout"]
    if under_way is None or under_way["release"] != release or under_way["status"] != "running":
        say(f"Nothing is live at {endpoint}: {release} goes live when it has started.")
        return
    say(f"{release} is tried beside {under_way['stable']}; `tuneline rollout status {endpoint} -w` follows.")
    click.echo(under_way["id"])


def plan_of(options: dict[str, Any]) -> dict[str, Any]:
    """The keys of a plan that options give. Raises: UserError, SpecError."""
    if options["canary"] and options["ab"]:
        raise click.UsageError("--canary and --ab exclude each other.")
    given: dict[str, Any] = {}
    if options["canary"] or options["ab"]:
        stages = str(options["canary"] or options["ab"]).split(",")
        given["stages"] = [_number(text.strip().removesuffix("%"), "a percentage") for text in stages]
        given["strategy"] = "canary" if options["canary"] else "ab"
    if options["shadow"]:
        given["shadow"] = True
        given.setdefault("strategy", "shadow")
    from tuneline.spec.durations import seconds  # noqa: PLC0415 - the spec, which no --help needs

    if options["every"]:
        given["every_s"] = seconds(options["every"])
    if options["max_duration"]:
        given["max_duration_s"] = seconds(options["max_duration"])
    if options["margins"]:
        pairs = [text.partition("=") for text in options["margins"]]
        given["margins"] = {name: _number(value, f"a margin of {name}") for name, _, value in pairs}
    if options["metrics"]:
        given["metrics"] = list(options["metrics"])
    names = ("min_requests", "alpha", "error_budget", "slow_ms")
    return given | {name: options[name] for name in names if options[name] is not None}


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"`{text}` is not {what}.", hint="Write a number.") from None


@rollout.command()
@click.argument("endpoint")
@click.option("-w", "--watch", is_flag=True, help="Go on until it ends.")
@json_option
def status(endpoint: str, watch: bool, as_json: bool) -> None:
    """What the newest rollout at ENDPOINT does: weights, requests, each test, and what is next.

    With --watch the exit code is 5 if it was rolled back.
    """
    before: list[str] = []
    with server() as client:
        while True:
            found = client.rollout(endpoint)
            if as_json:
                print_json(found)
            else:
                lines = shown(found)
                if lines != before:
                    click.echo("\n".join([*([""] if before else []), *lines]))
                before = lines
            under_way = found["rollout"]
            if not watch or under_way is None or under_way["status"] != "running":
                break
            time.sleep(LOOK_S)
    if watch and under_way is not None and under_way["status"] == "rolled_back":
        raise click.exceptions.Exit(exits.ROLLED_BACK)


def shown(found: dict[str, Any]) -> list[str]:
    """A rollout, by line."""
    one = found["rollout"]
    if one is None:
        return [f"No rollout was ever begun at {found['endpoint']}; {found['live'] or 'nothing'} is live."]
    head = f"{one['id']}  {one['release']} beside {one['stable']}  {one['status']}"
    lines = [head + ("  LOOK AT IT" if one["alert"] else "") + ("  forced" if one["forced"] else "")]
    if one["weights"]:
        parts = ", ".join(f"{release} {weight:g} %" for release, weight in one["weights"].items())
        lines.append(f"  requests  {parts}" + (", and copies of all" if one["shadow"] else ""))
    numbers = one["numbers"] or {}
    if numbers.get("requests"):
        counts = numbers["requests"]
        lines.append(
            f"  step      {numbers['step']} of {numbers['steps']}: {counts['candidate']} requests of the"
            f" candidate, {counts['stable']} of the stable release; {numbers['errors']} of the candidate's"
            " failed so far"
        )
    lines += [f"  {name:9} {_test(name, test)}" for name, test in (numbers.get("tests") or {}).items()]
    lines.append(f"  {'now' if one['status'] == 'running' else 'ended':9} {one['code']}: {one['reason']}")
    if one["status"] == "running":
        due = f"not before {short_time(one['next_at'])}" if one["next_at"] else "when more requests came"
        lines.append(f"  next      {due}")
    return lines


def _test(name: str, test: dict[str, Any]) -> str:
    return str(test["text"]).removeprefix(f"{name}: ") + ("" if test["needed"] else " (only watched)")


why_option = click.option("--why", default="", help="For the ledger.")
wait_option = click.option("--no-wait", is_flag=True, help="Do not wait until it answers.")


@click.command()
@click.argument("endpoint")
@why_option
@wait_option
@json_option
def promote(endpoint: str, why: str, no_wait: bool, as_json: bool) -> None:
    """Let what is tried at ENDPOINT go live now, whatever the tests say."""
    with server() as client:
        _finish(client, client.promote(endpoint, why), no_wait, as_json)


@click.command()
@click.argument("endpoint")
@click.option("--to", metavar="VERSION", help="Not to the release before, but to this one, e.g. 1.0.2.")
@why_option
@wait_option
@json_option
def rollback(endpoint: str, to: str | None, why: str, no_wait: bool, as_json: bool) -> None:
    """End what is tried at ENDPOINT; where nothing is, go back to the release that was live before."""
    with server() as client:
        _finish(client, client.rollback(endpoint, to, why), no_wait, as_json)


def _finish(client: Any, change: dict[str, Any], no_wait: bool, as_json: bool) -> None:
    """Say what happens, and wait until it did. Raises TransientError if it does not."""
    say(change["message"])
    begun = time.monotonic()
    if not no_wait:
        while not answers(client.endpoint(change["endpoint"]), change["release"]):
            if time.monotonic() - begun > TAKES_OVER_S:
                raise TransientError(
                    f"{change['release']} does not answer after {TAKES_OVER_S:g} s.",
                    hint="`tuneline status` says why; what was live goes on answering.",
                )
            time.sleep(0.02)
        change = {**change, "took_s": round(time.monotonic() - begun, 3)}
    if as_json:
        print_json(change)
    else:
        took = f" after {change['took_s']:.2f} s" if not no_wait else ""
        click.echo(f"{change['endpoint']} {change['release']}{took}")


def answers(endpoint: dict[str, Any], release: str) -> bool:
    """Whether `release` is live and gets all requests."""
    parts = {each["release"]: each["weight"] for each in endpoint["revisions"] if each["weight"] > 0}
    return bool(endpoint["live"] == release and set(parts) == {release})
