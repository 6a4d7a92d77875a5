"""A page that writes a GitHub issue's title from its body, asking the endpoint that tuneline names.

    GET  /                      the page
    GET  /random_github_issue   {"body", "title", "url"} of one of the issues beside this file
    POST /summary               {"issue_text"} or {"issue_url"}, as a form or JSON -> {"summary", "body"}

It reads OPENAI_BASE_URL and OPENAI_MODEL, which tuneline sets; GITHUB_API (default GitHub's) and GITHUB_TOKEN
for issues by URL, from the environment that `tuneline up` was started in.
"""

import csv
import os
import random
import re
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

HERE = Path(__file__).parent
ISSUE = re.compile(r"https://github\.com/([\w-]+)/((?!\.\.?/)[\w.-]+)/issues/(\d+)/?(?:[?#].*)?")
MAX_CHARACTERS = int(os.environ.get("MAX_CHARACTERS", "1200"))
"""Of a body; the model was trained on bodies that were cut too."""
MAX_BYTES = 200_000


class Wrong(Exception):
    """What to tell whoever asked, and with which status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def page(_: Request) -> Response:
    """The page."""
    return FileResponse(HERE / "index.html", media_type="text/html")


def random_issue(_: Request) -> Response:
    """One of the issues beside this file."""
    with (HERE / "issues.csv").open(encoding="utf-8", newline="") as file:
        row = random.choice(list(csv.DictReader(file)))
    return JSONResponse({"body": row["body"], "title": row["title"], "url": row["url"]})


async def summary(request: Request) -> Response:
    """The title that the model writes for a text, or for the issue at a URL."""
    asked = await _asked(request)
    body = str(asked.get("issue_text") or "").strip()
    if not body and asked.get("issue_url"):
        body = await _issue(str(asked["issue_url"]).strip())
    if not body:
        raise Wrong(400, "Give issue_text, or the issue_url of an issue that has a body.")
    return JSONResponse({"summary": await _title(body), "body": body})


async def _asked(request: Request) -> dict:
    raw = await request.body()
    if len(raw) > MAX_BYTES:
        raise Wrong(413, f"An issue has at most {MAX_BYTES} bytes here.")
    if "json" not in request.headers.get("content-type", ""):
        return dict(httpx.QueryParams(raw.decode("utf-8", "replace")))
    try:
        found = await request.json()
    except ValueError as error:
        raise Wrong(400, "That is no JSON.") from error
    if not isinstance(found, dict):
        raise Wrong(400, "Give a JSON object.")
    return found


async def _issue(url: str) -> str:
    """The body of the issue at a URL of github.com, through GitHub's API."""
    match = ISSUE.fullmatch(url)
    if match is None:
        raise Wrong(400, "An issue's URL looks like https://github.com/OWNER/REPO/issues/NUMBER.")
    api = os.environ.get("GITHUB_API", "https://api.github.com").rstrip("/")
    headers = {"accept": "application/vnd.github+json", "user-agent": "tuneline-issue-titles"}
    if token := os.environ.get("GITHUB_TOKEN"):
        headers["authorization"] = f"Bearer {token}"
    owner, repo, number = match.groups()
    try:
        async with httpx.AsyncClient(timeout=15, follow_redirects=True) as client:
            answer = await client.get(f"{api}/repos/{owner}/{repo}/issues/{number}", headers=headers)
    except httpx.HTTPError as error:
        raise Wrong(502, f"GitHub did not answer: {type(error).__name__}.") from error
    if answer.status_code == 404:
        raise Wrong(404, f"GitHub knows no issue {owner}/{repo}#{number}, or it is private.")
    if answer.status_code in (403, 429):
        raise Wrong(429, "GitHub's limit of requests is used up; set GITHUB_TOKEN, or wait.")
    if answer.status_code != 200:
        raise Wrong(502, f"GitHub answered with {answer.status_code}.")
    return str(answer.json().get("body") or "").strip()


async def _title(body: str) -> str:
    base = os.environ.get("OPENAI_BASE_URL", "").rstrip("/")
    if not base:
        raise Wrong(503, "No model is named: OPENAI_BASE_URL is unset. tuneline sets it with `uses`.")
    asked = {
        "model": os.environ.get("OPENAI_MODEL", "issue-titles"),
        "messages": [{"role": "user", "content": body[:MAX_CHARACTERS]}],
        "max_tokens": 32,
        "temperature": 0,
        "stop": ["\n"],
    }
    try:
        async with httpx.AsyncClient(timeout=60) as client:
            answer = await client.post(f"{base}/chat/completions", json=asked)
    except httpx.HTTPError as error:
        raise Wrong(503, f"The model does not answer: {type(error).__name__}.") from error
    if answer.status_code != 200:
        raise Wrong(503, f"The model answered with {answer.status_code}: {answer.text[:200]}")
    return str(answer.json()["choices"][0]["message"]["content"]).strip()


async def _say(_: Request, error: Exception) -> Response:
    assert isinstance(error, Wrong)
    return JSONResponse({"error": error.message}, error.status)


app = Starlette(
    routes=[
        Route("/", page),
        Route("/random_github_issue", random_issue),
        Route("/summary", summary, methods=["POST"]),
    ],
    exception_handlers={Wrong: _say},
)
