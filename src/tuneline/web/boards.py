"""The routes of TensorBoards: one for programs, one for the link on a run's page."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import RedirectResponse

from tuneline.actions.boards import RunBoards


def board_router(boards: RunBoards) -> APIRouter:
    """The routes over `boards`."""
    router = APIRouter()

    @router.post("/api/v1/runs/{id}/tensorboard")
    def open_board(id: str) -> dict[str, Any]:
        """Start TensorBoard over a run's logs, or find the one that runs."""
        return boards.open(id)

    @router.get("/runs/{id}/tensorboard", include_in_schema=False)
    def go(id: str) -> RedirectResponse:
        """The same for a browser: it is sent there."""
        return RedirectResponse(boards.open(id)["url"], status_code=303)

    return router
