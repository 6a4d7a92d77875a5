"""Who asks: set once where a request comes in, read where what was done is recorded.

A context variable, because what is done for one request may pass through many hands; empty: whoever runs this
server.
"""

from contextvars import ContextVar

CALLER: ContextVar[str] = ContextVar("tuneline_caller", default="")
"""The name of the token that this request came with."""
