"""Builds a home's server of its parts and runs it: the only place that knows everyone."""

from tuneline.wiring.server import serve

__all__ = ["serve"]
