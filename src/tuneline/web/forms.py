"""Fields of the forms on our own pages. Where a form comes from is judged before, by `access`."""

from urllib.parse import parse_qs

from fastapi import Request

MAX_BODY_BYTES = 16 << 10
"""A form is small; anything larger is none of ours."""


async def form_fields(request: Request) -> dict[str, str]:
    """The first value of every field; nothing of a body that is too large."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            return {}
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
