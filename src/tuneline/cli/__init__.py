"""The commands: thin, over the client. What is slow to import is imported by the command that needs it."""

from tuneline.cli.main import main

__all__ = ["main"]
