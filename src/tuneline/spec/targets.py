"""Where notices go: a URL whose secrets are named, never written. Pure.

A project's text is kept in the record and shown to everybody, so a URL in it names what is secret:
`${NAME}`, a variable of the server's environment, anywhere in it, or `secret:NAME/KEY`, a file of the home,
in its place. Limits: a secret is known by its place, not by its look; no fault quotes what was written.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qsl, urlsplit

KINDS: Final = ("run_failed", "verdict", "approval_wanted", "rolled_out", "rolled_back", "drift")
"""What a notice can be about."""
VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
SECRET: Final = re.compile(r"secret:([A-Za-z0-9][\w.-]*)(?:/([A-Za-z0-9][\w.-]*))?")
SECRET_KEY: Final = "url"
"""The file of a secret that `secret:NAME` means."""
_OPEN = ("mailto", "mailtos", "syslog", "dbus", "gnome", "macosx", "windows")
"""Schemes whose URLs hold no secret but a password."""
_HOW = "write `${NAME}`, a variable of the server's environment, or `secret:NAME/KEY`, a file of its home"
_PRIVATE = re.compile(r"pass|pwd|token|secret|key|auth|sig", re.IGNORECASE)


@dataclass(frozen=True)
class Target:
    """One receiver."""

    to: str
    """A URL that apprise takes, its secrets named."""
    on: tuple[str, ...] = KINDS
    """Of which kinds it is told."""


def fault(to: str) -> str:
    """Why `to` cannot stand in a file; "" if it can. Quotes nothing of it."""
    text = to.strip()
    if not text:
        return "is blank"
    if text.startswith("secret:"):
        return "" if SECRET.fullmatch(text) else "names no secret: write `secret:NAME` or `secret:NAME/KEY`"
    if VARIABLE.fullmatch(text):
        return ""
    if "${" in VARIABLE.sub("", text):
        return "has a `${` that names no variable: write `${NAME}`"
    if "://" not in VARIABLE.sub("x", text):
        return f"is no URL, as `slack://...` is one; {_HOW}"
    if _holds_secret(text):
        return f"would put what is secret in its URL on record; {_HOW}"
    return ""


def variables(to: str) -> Sequence[str]:
    """Names of the variables in it."""
    return VARIABLE.findall(to)


def _holds_secret(text: str) -> bool:
    try:
        parts = urlsplit(VARIABLE.sub("", text))
        password, host = parts.password, parts.hostname or ""
    except ValueError:  # a port or an address that is none
        return True
    private = [value for name, value in parse_qsl(parts.query) if _PRIVATE.search(name)]
    if password or any(private):
        return True
    return not (variables(text) or parts.scheme in _OPEN or _loopback(host))


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
