"""The issues of a repository on GitHub, without its pull requests: `github-issues://OWNER/REPO?state=all&limit=500`.

Rows are written as `issues.jsonl`, by number: `number`, `title`, `body`, `labels` (names, joined with `,
`), `state`, `created_at`, `url`. Every run asks again, page by page with what is known; without network the
rows of an earlier run are used, and the run says so. The token comes from the environment and goes to the
API's host alone.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tuneline.errors import DataError, NetworkError
from tuneline.steps.downloads import Desk
from tuneline.steps.github import PER_PAGE, Api
from tuneline.steps.sources import Fetched, Found
from tuneline.steps.sources.https import no_copy
from tuneline.steps.transfer import check_address, client
from tuneline.types import Digest

SCHEMES = ("github-issues",)
API = "https://api.github.com"
STATES = ("open", "closed", "all")
TOKENS = ("GITHUB_TOKEN", "GH_TOKEN", "TUNELINE_SECRET_GITHUB_TOKEN")
"""Where the token is looked for, unless `token` names another variable."""
_KEYS = ("state", "labels", "since", "limit", "api", "token")
_TOKEN = re.compile(r"TUNELINE_SECRET_\w+|GITHUB_TOKEN|GH_TOKEN")
_SINCE = re.compile(r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}Z)?")


@dataclass(frozen=True)
class Wanted:
    """What an address asks for."""

    repository: str
    """`owner/repo`."""
    state: str = "open"
    labels: str = ""
    """Names joined with a comma: issues that have all of them."""
    since: str = ""
    """Changed at this time or later."""
    limit: int = 0
    """The newest so many; 0 for all."""
    api: str = ""
    token: str = ""
    """The variable with the token."""

    @property
    def shown(self) -> str:
        """The address, without where the token is."""
        given = {name: getattr(self, name) for name in ("state", "labels", "since", "limit", "api")}
        given = {name: value for name, value in given.items() if value and (name, value) != ("state", "open")}
        return f"github-issues://{self.repository}" + (f"?{urlencode(given, safe=',:/')}" if given else "")

    def url(self, api: str) -> str:
        """The list's first page. Created-ascending: what is new comes last, and moves no page."""
        given = {"state": self.state, "sort": "created", "direction": "desc" if self.limit else "asc"}
        given |= {"labels": self.labels} if self.labels else {}
        given |= (
            {"since": self.since if "T" in self.since else f"{self.since}T00:00:00Z"} if self.since else {}
        )
        return f"{api}/repos/{self.repository}/issues?{urlencode(given | {'per_page': str(PER_PAGE)})}"


def fetch(address: str, desk: Desk) -> Fetched:
    """The issues at `address`. Raises DataError if it is none, or they are not for us; NetworkError."""
    wanted = read_address(address)
    api = (wanted.api or desk.env.get("GITHUB_API_URL") or API).rstrip("/")
    check_address(api, desk.env)
    pin = desk.pin(wanted.shown)
    if desk.offline:
        return _copy(pin, wanted, desk, "offline")
    try:
        pin = _bring(wanted, api, desk)
    except NetworkError as error:
        if pin is None:
            raise
        return _copy(pin, wanted, desk, error.message.removesuffix("."))
    return _fetched(pin, wanted, desk)


def read_address(address: str) -> Wanted:
    """What an address asks for. Raises DataError, naming what is wrong."""
    parts = urlsplit(address)
    repository = f"{parts.netloc}{parts.path}".strip("/")
    if "@" in parts.netloc:
        raise DataError(
            "`data.source` has a user or token in it.",
            hint="Leave it out: project files are kept and shown. Set GITHUB_TOKEN instead.",
        )
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise DataError(
            f"`{repository}` is no repository.", hint="Write github-issues://OWNER/REPO, as GitHub does."
        )
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in given:
        if name not in _KEYS:
            close = get_close_matches(name, _KEYS, n=1)
            hint = f"Did you mean `{close[0]}`?" if close else f"There are {', '.join(_KEYS)}."
            raise DataError(f"`data.source` asks for `{name}`, which no issues have.", hint=hint)
    _check(given)
    return Wanted(repository, **{**given, "limit": int(given.get("limit") or 0)})  # type: ignore[arg-type]


def _check(given: Mapping[str, str]) -> None:
    if given.get("state", "open") not in STATES:
        raise DataError(f"`state` is `{given['state']}`; it can be {', '.join(STATES)}.")
    if given.get("since") and not _SINCE.fullmatch(given["since"]):
        raise DataError(f"`since` is `{given['since']}`.", hint="Write 2026-01-31 or 2026-01-31T00:00:00Z.")
    if given.get("limit") and not given["limit"].isdigit():
        raise DataError(f"`limit` is `{given['limit']}`; it must be a whole number.")
    if given.get("token") and not _TOKEN.fullmatch(given["token"]):
        hint = (
            "It names the variable, e.g. token=TUNELINE_SECRET_GITHUB; the token itself is nowhere written."
        )
        raise DataError("`token` is no name of a variable that holds one.", hint=hint)


def _token(wanted: Wanted, desk: Desk) -> str:
    """The token for the API. One for GitHub is not given to another host that the project file names."""
    if wanted.token:
        found = desk.env.get(wanted.token, "")
        if not found:
            raise DataError(
                f"`data.source` wants the token in {wanted.token}, which is not set.",
                hint="Set it where the server is started.",
            )
        return found
    if wanted.api and wanted.api.rstrip("/") != API:
        return ""
    return next((desk.env[name] for name in TOKENS if desk.env.get(name)), "")


def _bring(wanted: Wanted, api: str, desk: Desk) -> dict[str, Any]:
    url = wanted.url(api)

    def enough(items: list[Any]) -> bool:
        return bool(wanted.limit) and sum(map(_is_issue, items)) >= wanted.limit

    with desk.partial(wanted.shown) as scratch, client(desk.env) as http:
        pages = Api(http, desk, scratch.with_suffix(".pages"), _token(wanted, desk))
        items = pages.items(url, enough)
        rows = rows_of(items, wanted.limit)
        if not rows:
            raise DataError(
                f"{wanted.shown} has no issues.", hint="See `state` (open by default), `labels` and `since`."
            )
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        scratch.write_text(text, encoding="utf-8")
        before = desk.pin(wanted.shown)
        sha256 = desk.keep(scratch)
    if before and before["sha256"] != sha256:
        desk.note(
            f"{wanted.shown} changed since the last run: {before['issues']} issues are now {len(rows)}."
        )
    pin = {"sha256": sha256, "issues": len(rows), "left_out": sum(not _is_issue(item) for item in items)}
    desk.save_pin(wanted.shown, pin)
    return pin


def rows_of(items: list[Any], limit: int) -> list[dict[str, Any]]:
    """The rows of issues, by number: each once, as it was last seen; the newest `limit` of them."""
    found = {int(item["number"]): _row(item) for item in items if _is_issue(item)}
    numbers = sorted(found)
    return [found[number] for number in (numbers[-limit:] if limit else numbers)]


def _is_issue(item: Any) -> bool:
    """The list has pull requests in it, which are marked."""
    return isinstance(item, Mapping) and "number" in item and "pull_request" not in item


def _row(item: Mapping[str, Any]) -> dict[str, Any]:
    labels = [
        label.get("name") if isinstance(label, Mapping) else label for label in item.get("labels") or ()
    ]
    return {
        "number": int(item["number"]),
        "title": str(item.get("title") or ""),
        "body": str(item.get("body") or "").replace("\r\n", "\n"),
        "labels": ", ".join(str(label) for label in labels if label),
        "state": str(item.get("state") or ""),
        "created_at": str(item.get("created_at") or ""),
        "url": str(item.get("html_url") or ""),
    }


def _copy(pin: dict[str, Any] | None, wanted: Wanted, desk: Desk, why: str) -> Fetched:
    if pin is None:
        raise no_copy(wanted.shown, why)
    desk.note(f"Used the copy of {wanted.shown} from an earlier run, sha256:{pin['sha256'][:12]}: {why}.")
    return _fetched(pin, wanted, desk)


def _fetched(pin: Mapping[str, Any], wanted: Wanted, desk: Desk) -> Fetched:
    path = desk.blob(pin["sha256"])
    found = Found("issues.jsonl", path, Digest(f"sha256:{pin['sha256']}"), path.stat().st_size, ours=True)
    about = {"repository": wanted.repository, "issues": pin["issues"]}
    return Fetched((found,), about, wanted.shown)
