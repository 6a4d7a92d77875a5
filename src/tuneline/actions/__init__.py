"""One door for the web API and the controllers: `Platform`. Whatever changes something goes through it."""

from tuneline.actions.platform import Platform

__all__ = ["Platform"]
