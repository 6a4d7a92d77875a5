"""The program that sends one notice: reads it from stdin as JSON, prints what became of it as JSON.

A process of its own, so that a service that never answers can be ended, and the server holds neither apprise
nor what it logs. apprise says yes or no; why is seen below it, at HTTP and SMTP. What is printed is made of
statuses and our own words: nothing of the URL, nothing that the service said.
"""

import json
import signal
import smtplib
import socket
import sys
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from time import time
from typing import Any

from tuneline.plan.delivery import http_says_no

Json = dict[str, Any]
UNKNOWN = "no service that apprise knows has such a URL"


class Seen:
    """The last thing that went wrong below apprise."""

    def __init__(self) -> None:
        self.error = ""
        self.final = False
        self.retry_after_s = 0.0

    def http(self, status: int, retry_after: str | None) -> None:
        """An answer of an HTTP service."""
        if status < 300:
            return
        words = HTTPStatus(status).phrase if status in list(HTTPStatus) else ""
        self.error = f"the service answered {status} {words}".strip()
        self.final = http_says_no(status) or status < 400
        self.retry_after_s = _seconds(retry_after)

    def smtp(self, code: int) -> None:
        """A reply of a mail server."""
        if code >= 400:
            login = " (the login was refused)" if code in (530, 534, 535) else ""
            self.error, self.final = f"the mail server answered {code}{login}", code >= 500
            self.retry_after_s = 0.0

    def fault(self, error: Exception) -> None:
        """A connection that failed."""
        names = [kind.__name__ for kind in type(error).__mro__]
        said = next((text for name, text in _FAULTS.items() if name in names), "the connection broke")
        self.error, self.final, self.retry_after_s = said, False, 0.0


_FAULTS = {
    "SSLError": "its certificate is not trusted, or it speaks no TLS",
    "SSLCertVerificationError": "its certificate is not trusted",
    "ConnectTimeout": "no connection within the time allowed",
    "Timeout": "it did not answer in time",
    "TimeoutError": "it did not answer in time",
    "gaierror": "its name cannot be resolved",
    "ConnectionRefusedError": "nothing listens there",
    "SMTPServerDisconnected": "the mail server hung up",
    "ConnectionError": "no connection",
}


def send(order: Json) -> Json:
    """Send one notice. order: `{"url", "title", "markdown", "text", "tone", "timeout_s"}`."""
    import apprise  # noqa: PLC0415 - an extra

    seen = Seen()
    _watch_http(seen)
    _watch_smtp(seen)
    socket.setdefaulttimeout(order["timeout_s"])
    asset = apprise.AppriseAsset(
        app_id="tuneline", app_desc="tuneline", app_url="", image_url_mask="", image_url_logo="",
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )  # fmt: skip
    plugin = apprise.Apprise.instantiate(order["url"], asset=asset, suppress_exceptions=True)
    if plugin is None:
        return {"delivered": False, "error": UNKNOWN, "final": True}
    plugin.socket_connect_timeout = plugin.socket_read_timeout = order["timeout_s"]
    sender = apprise.Apprise(asset=asset)
    sender.add(plugin)
    takes = plugin.notify_format if isinstance(plugin.notify_format, tuple) else (plugin.notify_format,)
    only_text = all(str(getattr(kind, "value", kind)) == "text" for kind in takes)
    done = sender.notify(
        body=order["text"] if only_text else order["markdown"],
        title=order["title"],
        notify_type=apprise.NotifyType(order["tone"]),
        body_format=apprise.NotifyFormat.TEXT if only_text else apprise.NotifyFormat.MARKDOWN,
    )
    if done:
        return {"delivered": True}
    error = seen.error or "the service did not take it, and apprise does not say why"
    return {"delivered": False, "error": error, "final": seen.final, "retry_after_s": seen.retry_after_s}


def _watch_http(seen: Seen) -> None:
    from requests.adapters import HTTPAdapter  # noqa: PLC0415 - apprise brings it

    original = HTTPAdapter.send

    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            answer = original(self, *args, **kwargs)
        except Exception as error:
            seen.fault(error)
            raise
        seen.http(answer.status_code, answer.headers.get("Retry-After"))
        return answer

    HTTPAdapter.send = watched


def _watch_smtp(seen: Seen) -> None:
    reply, connect = smtplib.SMTP.getreply, smtplib.SMTP.connect

    def watched(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(self: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                answer = call(self, *args, **kwargs)
            except Exception as error:
                seen.fault(error)
                raise
            seen.smtp(int(answer[0]))
            return answer

        return called

    smtplib.SMTP.getreply = watched(reply)  # type: ignore[method-assign]
    smtplib.SMTP.connect = watched(connect)  # type: ignore[method-assign]


def _seconds(text: str | None) -> float:
    """Of `Retry-After`: seconds, or a date."""
    if not text:
        return 0.0
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time())
    except (ValueError, OverflowError):
        return 0.0


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    signal.alarm(int(asked["timeout_s"]) + 10)  # whoever started it may be gone, and it must end all the same
    sys.stdout.write(json.dumps(send(asked)))
