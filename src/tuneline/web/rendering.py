"""HTML of templates and values. Everything is escaped; nothing is loaded from elsewhere, nothing inline runs.

Limits: pages work without JavaScript; our one script follows links of KFP's SDK and refreshes what moves.
"""

from http import HTTPStatus
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

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

_TEMPLATES = Environment(
    loader=PackageLoader("tuneline.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(template: str, /, status: int = HTTPStatus.OK, **values: Any) -> HTMLResponse:
    """The page that `templates/<template>` makes of `values`."""
    return HTMLResponse(_TEMPLATES.get_template(template).render(**values), status, HEADERS)
