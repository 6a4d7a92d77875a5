"""The HTTP client of the server's API: what the command line and steps use. Never imports the server's
parts."""

from tuneline.client.http import Client
from tuneline.client.server import ensure_server, find_server

__all__ = ["Client", "ensure_server", "find_server"]
