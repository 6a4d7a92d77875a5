"""`tuneline drift`: how live requests compare with earlier ones, as a table or as one HTML file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tuneline.cli.connect import server
from tuneline.cli.output import json_option, print_json, print_table, say, short_time
from tuneline.errors import ResourceError


@click.command()
@click.argument("endpoint")
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write one HTML file with pictures, which needs nothing else.",
)
@json_option
def drift(endpoint: str, report: Path | None, as_json: bool) -> None:
    """Whether what ENDPOINT is asked, and what it answers, has changed since its release went live."""
    with server() as client:
        found = client.drift(endpoint)
    if report is not None:
        _write(report, found)
    if as_json:
        print_json(found)
        return
    window = found["window"]
    rows = [_row(each) for each in window["findings"]] if window else []
    columns = ["detector", "verdict", "since", "value", "p", "drift if p <=", "reference", "window", "what"]
    print_table(columns, rows, f"No window of {endpoint} was looked at yet.")
    for line in said(found):
        say(line)


def said(found: Mapping[str, Any]) -> list[str]:
    """What stands below the table: the window, what is waited for, the stated rate, the alert."""
    settings, window, alert = found["settings"], found["window"], found["alert"]
    if not settings["detectors"]:
        return ["Nothing is looked at: `monitor.drift.detectors` is empty."]
    lines = []
    if window:
        about = f"Window {window['n']} of {found['release']}: {window['requests']} requests"
        reference = (found["reference"] or {}).get("requests", "no")
        lines.append(
            f"{about}, {short_time(window['from'])} to {short_time(window['to'])}; "
            f"{reference} requests in the reference; {window['counts'].get('unknown', 0)} could not be read."
        )
    state = found["state"]
    if state.get("lost"):
        lines.append(f"The earlier reference is lost, a new one begins: {state['lost']}")
    if "of" in state:
        lines.append(f"The next {state['phase']} has {state['have']} of {state['of']} requests.")
    elif not window:
        lines.append("The server looks every few seconds for what is due; nothing was live, or was asked.")
    lines.append(
        f"Without drift, any alarm within 30 days has a chance of at most {settings['alpha']:g}"
        f" ({settings['alpha_per_look']:.1e} a look)."
    )
    if alert:
        run = f"run {alert['run']}" if alert["run"] else alert["note"] or "no run is started"
        lines.append(f"ALERT since {short_time(alert['at'])}: {alert['why']}. {run}.")
    return lines


def _row(finding: Mapping[str, Any]) -> list[object]:
    value, p = finding["value"], finding["p"]
    return [
        finding["detector"],
        finding["verdict"],
        short_time(finding.get("since")),
        "-" if value is None else f"{value:.3g}",
        "-" if p is None else f"{p:.2g}",
        f"{finding['threshold']:.1e}",
        finding["reference_n"],
        finding["window_n"],
        finding["said"],
    ]


def _write(report: Path, found: Mapping[str, Any]) -> None:
    from tuneline.cli.drift_report import html  # noqa: PLC0415 - jinja2 takes 20 ms

    try:
        report.write_text(html(found), encoding="utf-8")
    except OSError as error:
        raise ResourceError(
            f"The report {report} cannot be written: {error.strerror}.", hint="Give another path."
        ) from error
    say(f"The report is {report}.")
