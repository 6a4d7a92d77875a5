"""Two plain pages without scripts: what runs here, and what the API offers. All text is escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .75rem .25rem 0;"
    "border-bottom:1px solid #8884;vertical-align:top}code{font-size:.9em}"
)


def index(status: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> str:
    """Endpoints and the newest runs. status: `Platform.status()`; runs: `Platform.runs()`."""
    server = status["server"]
    endpoints = [
        (_link(item["url"], item["name"]), item["live"] or "nothing", item["phase"], item["message"])
        for item in status["endpoints"]
    ]
    rows = [
        (_link(f"/api/v1/runs/{run['id']}", run["id"]), run["project"], run["state"], run["created_at"])
        for run in runs
    ]
    return _page(
        "tuneline",
        f"<p>Version {escape(server['version'])}, home <code>{escape(server['home'])}</code>,"
        f" process {server['pid']}. <a href='/docs'>The API</a></p>"
        f"<h2>Endpoints</h2>{_table(('endpoint', 'live', 'phase', ''), endpoints)}"
        f"<h2>Runs</h2>{_table(('run', 'project', 'state', 'created'), rows)}",
    )


def docs(openapi: Mapping[str, Any]) -> str:
    """Every route with its sentence. openapi: the app's own description."""
    rows = [
        (f"<code>{method.upper()} {escape(path)}</code>", str(route.get("description", "")))
        for path, methods in openapi["paths"].items()
        for method, route in methods.items()
    ]
    intro = "<p>JSON in, JSON out. <a href='/openapi.json'>openapi.json</a> has every field.</p>"
    return _page("The API of tuneline", intro + _table(("request", "what it does"), rows))


def _page(title: str, body: str) -> str:
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>"
    return f"{head}<style>{STYLE}</style><h1>{escape(title)}</h1>{body}</html>"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """The first cell of a row is HTML already; the others are text."""
    shown = [
        f"<tr><td>{row[0]}</td>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row[1:]) + "</tr>"
        for row in rows
    ]
    if not shown:
        return "<p>None yet.</p>"
    return (
        "<table><tr>"
        + "".join(f"<th>{escape(cell)}</th>" for cell in head)
        + "</tr>"
        + "".join(shown)
        + "</table>"
    )


def _link(url: str | None, text: str) -> str:
    return f"<a href='{escape(url)}'>{escape(text)}</a>" if url else escape(text)
