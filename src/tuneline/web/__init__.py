"""The server's HTTP API and pages, over `actions.Platform`: JSON, HTML, status codes, and who may ask."""

from tuneline.web.app import create_app

__all__ = ["create_app"]
