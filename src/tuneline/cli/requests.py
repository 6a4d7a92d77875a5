"""Commands about single requests: `trace`, `feedback`."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from tuneline.cli.connect import server
from tuneline.cli.output import json_option, print_json, say, short_time
from tuneline.cli.releases import forced

SHOWN_SOURCES = 8
SHOWN_VALUE = 90
"""Characters of a parameter's value."""


@click.command()
@click.argument("request_id")
@click.option("--endpoint", metavar="NAME", help="Only there; by default every endpoint is asked.")
@json_option
def trace(request_id: str, endpoint: str | None, as_json: bool) -> None:
    """Which release answered REQUEST_ID, and all that made it: run, code, parameters, data, verdict.

    REQUEST_ID is the x-request-id of the answer. Of several requests of one id the latest is shown.
    Parameters that are empty are left out, and long ones cut; --json has all of them.
    """
    with server() as client:
        found = client.trace(request_id, endpoint)
    if as_json:
        print_json(found)
        return
    for name, value in _rows(found):
        click.echo(f"{name:16} {value if value is not None else '-'}")
    if found["also_at"]:
        say(f"That id is also at: {', '.join(found['also_at'])}. Ask with --endpoint.")


@click.command()
@click.argument("endpoint")
@click.argument("request_id")
@click.option("--score", type=click.FloatRange(0, 1), required=True, help="From 0, worst, to 1, best.")
@click.option("--comment", default="", help="In your words; not counted.")
@json_option
def feedback(endpoint: str, request_id: str, score: float, comment: str, as_json: bool) -> None:
    """Say how good the answer REQUEST_ID of ENDPOINT was. A second score of yours replaces the first.

    REQUEST_ID is the x-request-id of the answer.
    """
    with server(start=True) as client:
        given = {"request_id": request_id, "score": score, "comment": comment}
        found = client.feedback(endpoint, [given])
    if as_json:
        print_json(found)
    else:
        click.echo(f"{request_id} scored {score:g}")
    if found["unseen"]:
        say(f"No line of that request is here yet; the score is kept. `tuneline trace {request_id}` looks.")


def _rows(found: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    asked, live = found["request"], found["live"]
    yield "request", found["id"]
    yield "endpoint", found["endpoint"]
    yield "at", asked["at"]
    yield "asked", f"{asked['method']} {asked['path']}"
    said = f"{asked['status']} in {asked['ms'] or 0:.1f} ms, after {asked['retries'] or 0} retries"
    yield "answered", said + (", as a copy" if asked["shadow_of"] else "")
    yield "by release", asked["release"] or "none"
    yield "revision", asked["revision"] or "none"
    if asked["override"]:
        yield "chosen", "by the request itself"
    if live is None:
        yield "live then", "nothing"
    else:
        until = short_time(live["to"]) or "now"
        yield "live then", f"{live['release']}, from {short_time(live['from'])} to {until}"
    for copy in found["shadows"]:
        agrees = {True: "equal", False: "another answer", None: "not compared"}[copy["agrees"]]
        yield "shadow", f"{copy['release']} ({copy['revision']}): {copy['status']}, {agrees}"
    for score in found["feedback"]:
        yield "feedback", f"{score['score']:g} by {score['by']} {score['comment']}".rstrip()
    yield from _release(found["release"])


def _release(release: Mapping[str, Any] | None) -> Iterator[tuple[str, object]]:
    if release is None:
        return
    if "missing" in release:
        yield "of the release", release["missing"]
        return
    from tuneline.plan.notice_text import cut  # noqa: PLC0415 - for this command alone

    run, verdict = release["run"], release["verdict"] or {}
    yield "state", release["state"]
    for said in release["forced"]:
        yield "forced", forced(said)
    yield "gate", verdict.get("reason") or ("passed" if verdict.get("passed") else "no verdict")
    yield "package", release["package"]["digest"]
    yield "base", (release["base"] or {}).get("digest")
    yield "run", f"{run['id']} ({short_time(run['created_at'])})" if run else "not on record here"
    yield "commit", (run or {}).get("commit")
    for digest, task in dict.fromkeys((each["digest"], each["task"]) for each in release["code"]):
        yield "code", f"{digest} {task}"  # the live release's, with which it was compared, is mostly the same
    for name, value in sorted((release["parameters"] or {}).items()):
        if value not in ("", [], {}, None):
            yield "parameter", f"{name} = {cut(json.dumps(value, ensure_ascii=False), SHOWN_VALUE)}"
    yield "data", release["data"]["data_digest"]
    yield "rows", release["data"]["rows_digest"]
    sources = release["source"]
    for source in sources[:SHOWN_SOURCES]:
        yield "source", f"{source['digest']} {source['source'] or source['artifact']}"
    if len(sources) > SHOWN_SOURCES:
        yield (
            "source",
            f"and {len(sources) - SHOWN_SOURCES} more: `tuneline lineage {release['release']} --up`",
        )
