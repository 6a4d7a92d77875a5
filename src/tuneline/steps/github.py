"""GitHub's REST API as a source needs it: one list, page by page, asked with what is known of it.

A page that was brought once is kept with its ETag, so that asking again costs nothing where it has not
changed (304), and what was cut goes on at the page where it stopped. Rate limits are kept to: the primary
one (`x-ratelimit-remaining`, `x-ratelimit-reset`) and the secondary (`retry-after`). The token goes into
one header of requests to the API's own host, and nowhere else.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from tuneline.errors import DataError, NetworkError
from tuneline.steps.downloads import Desk
from tuneline.steps.transfer import shown

ATTEMPTS = 5
"""Of one request, where the server or the way to it is at fault."""
PATIENCE_S = 900.0
"""How long rate limits keep one request waiting, in all; what lasts longer ends the attempt. What came is
kept."""
SECONDARY_S = 60.0
"""A secondary limit that does not say how long it lasts is waited for so long, then twice as long."""
PER_PAGE = 100
"""The most that GitHub gives."""
PASSES = 3
"""How often pages are asked again because they changed while they were read."""


@dataclass(frozen=True)
class Page:
    """One page of a list."""

    url: str
    etag: str
    next: str
    """The address of the next page; "" for the last."""
    items: list[Any]
    fresh: bool = True
    """Whether it came now, rather than being as it was."""


class RateLimited(NetworkError):
    """The limit lasts longer than anybody waits for it."""


@dataclass
class Api:
    """One list of GitHub's, and the pages that are kept of it."""

    http: httpx.Client
    desk: Desk
    folder: Path
    """Where pages are kept; safe to delete."""
    token: str = field(repr=False, default="")
    clock: Callable[[], float] = time.time

    def items(self, url: str, enough: Callable[[list[Any]], bool]) -> list[Any]:
        """Every item of the list at `url`, up to the page with which there are `enough`.

        Pages move while they are read: an item that comes twice is given once, and pages are asked again
        until none has changed since (`PASSES` at most).

        Raises: DataError if it is not there or not for us; NetworkError; RateLimited.
        """
        for count in range(PASSES):
            try:
                pages = list(self._pages(url, enough))
            except RateLimited:
                if not count:
                    raise
                self.desk.note("The rate limit left no request to see whether issues changed meanwhile.")
                break
            if len(pages) < 2 or not any(page.fresh for page in pages):
                break
        else:
            self.desk.note("The list kept changing while it was read; one may be missing.")
        return [item for page in pages for item in page.items]

    def _pages(self, url: str, enough: Callable[[list[Any]], bool]) -> Iterator[Page]:
        found: list[Any] = []
        seen: set[str] = set()
        while url and url not in seen:
            seen.add(url)
            page = self._page(url)
            yield page
            found += page.items
            self.desk.progress(len(found), None)
            url = "" if enough(found) else page.next

    def _page(self, url: str) -> Page:
        """One page, from GitHub or as it is kept."""
        kept = self._kept(url)
        failures, limited, waited_s = 0, 0, 0.0
        while True:
            try:
                response = self.http.get(url, headers=self._headers(kept))
                if (wait_s := self._limit_s(response, limited)) is not None:
                    limited, waited_s = limited + 1, waited_s + max(1.0, wait_s)
                    self._wait(max(1.0, wait_s), waited_s, response)
                    continue
                page = self._read(url, response, kept)
            except (httpx.TooManyRedirects, httpx.InvalidURL) as error:
                raise DataError(f"{shown(url)} leads nowhere: {error}.", hint="Check the address.") from error
            except (httpx.RequestError, ValueError) as error:
                failures += 1
                self._again(url, failures, _said(error))
            else:
                if page is not None:
                    return page
                failures += 1
                self._again(url, failures, f"the server answered {response.status_code}")

    def _headers(self, kept: Page | None) -> dict[str, str]:
        wanted = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
        if self.token:
            wanted["Authorization"] = f"Bearer {self.token}"
        # a last page that is full says nothing of a page behind it that came since: it is brought again
        known = kept is not None and kept.etag and (kept.next or len(kept.items) < PER_PAGE)
        return wanted | ({"If-None-Match": kept.etag} if kept is not None and known else {})

    def _read(self, url: str, response: httpx.Response, kept: Page | None) -> Page | None:
        """The page of a response; None to ask again. Raises: DataError; ValueError if it is no JSON."""
        if response.status_code == 304 and kept is not None:
            return kept
        if response.status_code in (408, 425) or response.status_code >= 500:
            return None
        if response.status_code != 200:
            raise _refusal(url, response, bool(self.token))
        items = json.loads(response.content)
        if not isinstance(items, list):
            raise ValueError("the answer is no list")
        next_url = str(response.links.get("next", {}).get("url", ""))
        if next_url and urlsplit(next_url)[:2] != urlsplit(url)[:2]:  # it would get the token
            raise DataError(f"{shown(url)} leads on to another host: {urlsplit(next_url).hostname}.")
        page = Page(url, response.headers.get("etag", ""), next_url, items)
        self._keep(page)
        return page

    def _limit_s(self, response: httpx.Response, limited: int) -> float | None:
        """Seconds that a rate limit asks to wait; None if the response is not about one."""
        if response.status_code not in (403, 429):
            return None
        after = response.headers.get("retry-after", "").strip()
        if after.isdigit():
            return float(after)
        if response.headers.get("x-ratelimit-remaining") == "0":
            return self._until_reset_s(response)
        if response.status_code == 429 or "secondary rate limit" in response.text.lower():
            return SECONDARY_S * 2.0**limited
        return None

    def _until_reset_s(self, response: httpx.Response) -> float:
        reset = response.headers.get("x-ratelimit-reset", "")
        try:  # by the server's own clock: ours may be wrong
            now = parsedate_to_datetime(response.headers.get("date", "")).timestamp()
        except (TypeError, ValueError):
            now = self.clock()
        return max(1.0, float(reset) - now + 1.0) if reset.isdigit() else SECONDARY_S

    def _wait(self, wait_s: float, waited_s: float, response: httpx.Response) -> None:
        """Wait for a limit. waited_s: for this request in all, this time with it. Raises: RateLimited."""
        until = datetime.fromtimestamp(self.clock() + min(wait_s, 1e9), UTC)
        limit = response.headers.get("x-ratelimit-limit", "")
        of = f" of {limit} requests an hour" if limit else ""
        if waited_s > PATIENCE_S:
            more = "" if self.token else " A token (GITHUB_TOKEN) allows 5,000 requests an hour, not 60."
            error = RateLimited(
                f"GitHub's rate limit{of} is used up until {until:%H:%M} UTC.",
                hint=f"Run it again then: the pages that came are kept.{more}",
            )
            error.retry = False  # the runner's retries would come too early
            raise error
        self.desk.note(f"Waiting {wait_s:.0f} s for GitHub's rate limit{of}.")
        self.desk.sleep(wait_s)

    def _again(self, url: str, failures: int, what: str) -> None:
        if failures >= ATTEMPTS:
            raise NetworkError(
                f"{shown(url)} could not be asked: {what}.",
                hint="Check the network, then run it again: the pages that came are kept.",
            )
        self.desk.sleep(0.5 * 2.0 ** (failures - 1))

    def _file(self, url: str) -> Path:
        return self.folder / f"{_digits(url)}.json"

    def _kept(self, url: str) -> Page | None:
        try:
            found = json.loads(self._file(url).read_text(encoding="utf-8"))
            return Page(
                str(found["url"]), str(found["etag"]), str(found["next"]), found["items"], fresh=False
            )
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def _keep(self, page: Page) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        scratch = self._file(page.url).with_suffix(".tmp")
        body: Mapping[str, Any] = {"url": page.url, "etag": page.etag, "next": page.next, "items": page.items}
        scratch.write_text(json.dumps(body), encoding="utf-8")
        scratch.replace(self._file(page.url))


def _said(error: Exception) -> str:
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return f"no connection ({error})"
    if isinstance(error, ValueError):
        return f"its answer is no JSON ({error})"
    return f"the connection was cut ({str(error) or type(error).__name__})"


def _refusal(url: str, response: httpx.Response, token: bool) -> DataError:
    """What a status that will not change means."""
    try:
        body = response.json()
        said = str(body.get("message", ""))[:200] if isinstance(body, dict) else ""
    except ValueError:
        said = ""
    status, of = response.status_code, f" (GitHub says: {said})" if said else ""
    if status == 401:
        return DataError(
            f"GitHub does not accept the token{of}.",
            hint="Make a new one, or unset it for a public repository.",
        )
    if status in (403, 404, 410):
        hint = "Check the name."
        hint += " The token may not read it." if token else " A private repository needs GITHUB_TOKEN."
        return DataError(
            f"{shown(url)} is not there, or not for us: the server answered {status}{of}.", hint=hint
        )
    return DataError(
        f"{shown(url)} was refused: the server answered {status}{of}.", hint="Check the address."
    )


def _digits(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:32]
