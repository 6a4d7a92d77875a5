"""HTML of templates and values. Everything is escaped; nothing is loaded from elsewhere, nothing inline runs.

Limits: pages work without JavaScript; our one script follows links of KFP's SDK and refreshes what moves.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from tuneline.web.frames import content_link

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every page. `no-store`: what only a token's holder may see stays in no cache."""


def took(seconds: float | None) -> str:
    """`0.4 s`, `42 s`, `3:07`, `1:02:07`; empty for None."""
    if seconds is None:
        return ""
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def moment(text: str | None) -> str:
    """An RFC 3339 time of the API to the second, for people."""
    return (text or "").split(".")[0].rstrip("Z").replace("T", " ") + (" UTC" if text else "")


def since_epoch(at: float | None) -> str:
    """Unix seconds, for people."""
    return "" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def size(count: int | None) -> str:
    """Bytes for people: `512 B`, `1.2 kB`, `3.4 MB`."""
    if count is None:
        return ""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f}\N{NO-BREAK SPACE}{unit}"
    return f"{count}\N{NO-BREAK SPACE}B"


def run_title(run: Mapping[str, Any]) -> str:
    """What a run is called: its own name, or its project's."""
    return str(run.get("display_name") or run["project"] or run["name"])


def run_took(run: Mapping[str, Any]) -> str:
    """How long an ended run took."""
    begin, end = run["started_at"] or run["created_at"], run["finished_at"]
    if not end:
        return ""
    return took((datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds())


def as_json(value: Any) -> str:
    """A value as JSON text, as a person reads it; the template escapes it."""
    return json.dumps(value, ensure_ascii=False)


_TEMPLATES = Environment(
    loader=PackageLoader("tuneline.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters.update(
    took=took,
    moment=moment,
    size=size,
    json=as_json,
    content_link=content_link,
    run_title=run_title,
    run_took=run_took,
    since_epoch=since_epoch,
)


def page(template: str, /, status: int = HTTPStatus.OK, **values: Any) -> HTMLResponse:
    """The page that `templates/<template>` makes of `values`."""
    text = _TEMPLATES.get_template(template).render(**values)
    return HTMLResponse(text.encode(errors="replace"), status, HEADERS)  # a value may be half a character
