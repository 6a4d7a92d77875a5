"""The routes of TensorBoards: one for programs, one for the link on a run's page."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse

from tuneline.actions.boards import RunBoards
from tuneline.errors import ForbiddenError
from tuneline.web.access import may_write


def board_router(boards: RunBoards) -> APIRouter:
    """The routes over `boards`."""
    router = APIRouter()

    @router.post("/api/v1/runs/{id}/tensorboard")
    def open_board(id: str) -> dict[str, Any]:
        """Start TensorBoard over a run's logs, or find the one that runs."""
        return boards.open(id)

    @router.get("/runs/{id}/tensorboard", include_in_schema=False)
    def go(id: str, request: Request) -> RedirectResponse:
        """The same for a browser: it is sent there. It starts a process: a token that only reads may not."""
        if not may_write(request):
            raise ForbiddenError(
                "This token may only read, and TensorBoard would be started.",
                hint="`tuneline token create NAME` without --read-only makes one that may.",
            )
        return RedirectResponse(boards.open(id)["url"], status_code=303)

    return router
