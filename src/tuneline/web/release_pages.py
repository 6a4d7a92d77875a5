"""Pages of releases: all of them, and one with its verdict, what people said of it, and what it is made of.

A candidate's page has the two buttons that say yes and no; `access` has judged where a form comes from, and
who sent it, before it gets here.
"""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from tuneline.actions import Platform
from tuneline.web.access import may_write
from tuneline.web.forms import form_fields
from tuneline.web.rendering import page

Json = dict[str, Any]
MAX_COMMENT = 2000


def release_router(platform: Platform) -> APIRouter:
    """The routes below /releases."""
    router = APIRouter(include_in_schema=False)

    @router.get("/releases")
    def releases() -> HTMLResponse:
        found = [each for model in platform.models() for each in platform.releases(model)]
        found.sort(key=lambda each: each["created_at"], reverse=True)
        table = [
            (f"/releases/{each['release']}", each["release"],
             each["state"] + (", forced" if each["forced"] else ""), each["reason"],
             each["created_at"])
            for each in found
        ]  # fmt: skip
        return page(
            "list.html", title="Releases", head=("release", "state", "why this version", "created"),
            rows=table, more="",
        )  # fmt: skip

    @router.get("/releases/{ref}")
    def release(ref: str, request: Request) -> HTMLResponse:
        found = platform.release(ref)
        return page(
            "release.html", release=found, rules=_rules(found["verdict"] or {}), may_write=may_write(request),
            made=platform.provenance(ref),
        )  # fmt: skip

    @router.post("/releases/{ref}/approve")
    async def approve(ref: str, request: Request) -> Response:
        comment = (await form_fields(request)).get("comment", "")[:MAX_COMMENT]
        await run_in_threadpool(platform.approvals.approve, ref, comment)
        return RedirectResponse(f"/releases/{ref}", HTTPStatus.SEE_OTHER)

    @router.post("/releases/{ref}/reject")
    async def reject(ref: str, request: Request) -> Response:
        comment = (await form_fields(request)).get("comment", "")[:MAX_COMMENT]
        await run_in_threadpool(platform.approvals.reject, ref, comment)
        return RedirectResponse(f"/releases/{ref}", HTTPStatus.SEE_OTHER)

    return router


def _rules(verdict: Json) -> list[Json]:
    """The verdict's table: a line a rule, with the numbers that decided it."""
    return [
        {
            "passed": bool(rule.get("passed")),
            "rule": rule.get("rule"),
            "estimate": _number(rule.get("estimate")),
            "interval": " to ".join(_number(end) for end in rule.get("interval") or ()),
            "p": ", ".join(
                f"{test['p_value']:.3g}"
                for test in rule.get("tests") or ()
                if _is_number(test.get("p_value"))
            ),
            "reason": rule.get("reason") or "",
        }
        for rule in verdict.get("rules") or ()
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
