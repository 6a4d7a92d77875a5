"""The server's HTTP API, over `actions.Platform`. Knows JSON and status codes, decides nothing."""

from tuneline.web.app import create_app

__all__ = ["create_app"]
