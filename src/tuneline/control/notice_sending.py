"""From a target as it is written to a message that was taken or not: secrets looked up, a child that sends.

A secret lives in this process for the time of one attempt and reaches the child by its stdin: it is in no
argument, variable, file, log, error or record.
"""

import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from tuneline.errors import MissingPartError, NetworkError, SettingError, TunelineError
from tuneline.plan.delivery import Outcome
from tuneline.plan.notices import Message, trial
from tuneline.settings import SERVER_ONLY
from tuneline.spec.targets import SECRET, SECRET_KEY, VARIABLE, fault, variables

SEND_S = 30.0
"""How long one attempt may take."""
INSTALL = "pip install 'tuneline[notify]'"
OWN = "TUNELINE_NOTIFY"
"""What the targets of the setting are called: `TUNELINE_NOTIFY`, `TUNELINE_NOTIFY#2`, ..."""
_CHILD = ("-m", "tuneline.control.notice_child")


class Missing(Exception):
    """What is not there that a target names: no fault, it is waited for."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class Addresses:
    """The URLs behind targets, as environment and secrets are now."""

    def __init__(self, env: Mapping[str, str], secrets: Path, own: str) -> None:
        """secrets: the home's folder of them. own: what TUNELINE_NOTIFY is."""
        self._env = env
        self._secrets = secrets
        self._own = own.split()

    def own(self) -> list[str]:
        """The names of the server's own targets."""
        return [OWN if place == 1 else f"{OWN}#{place}" for place, _ in enumerate(self._own, 1)]

    def url(self, target: str) -> str:
        """The URL to send to. Raises: Missing."""
        names = self.own()
        if target.startswith(OWN):
            if target not in names:
                raise Missing(f"{target} is not set")
            target = self._own[names.index(target)]
        if target.startswith("secret:"):
            return self._secret(target)
        for name in variables(target):
            if name in SERVER_ONLY:
                raise Missing(f"{name} is the server's own and given to nobody")
            if not self._env.get(name, "").strip():
                raise Missing(f"{name} is not set in the server's environment")
        return VARIABLE.sub(lambda found: self._env[found[1]].strip(), target)

    def _secret(self, target: str) -> str:
        named = SECRET.fullmatch(target)
        if named is None:
            raise Missing("a secret's name is wrong")
        name, key = named[1], named[2] or SECRET_KEY
        try:
            found = (self._secrets / name / key).read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            found = ""
        if not found:
            raise Missing(f"the file secrets/{name}/{key} of the home is not there")
        return found


class Sender:
    """Sends messages, each in a child. Thread-safe."""

    def __init__(self, addresses: Addresses, timeout_s: float = SEND_S) -> None:
        self._addresses = addresses
        self._timeout_s = timeout_s
        self._stopped = threading.Event()
        self._children: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    def ready(self, target: str) -> str:
        """Its URL, if it can be sent to. Raises: Missing."""
        if importlib.util.find_spec("apprise") is None:
            raise Missing(f"apprise is not installed: {INSTALL}")
        return self._addresses.url(target)

    def send(self, target: str, message: Message) -> Outcome:
        """One attempt, of at most `timeout_s`. Raises: Missing, if it cannot be made."""
        url = self.ready(target)
        order = json.dumps({"url": url, "timeout_s": self._timeout_s, **asdict(message)})
        return self._ask(order.encode())

    def test(self, target: str) -> None:
        """Send a test. Raises: SettingError, MissingPartError, NetworkError with what went wrong."""
        wrong = "" if target.startswith(OWN) else fault(target)
        if wrong:
            raise SettingError(f"The target {wrong}.", hint=f"Or name one of the server's own: {OWN}.")
        try:
            outcome = self.send(target, trial(target))
        except Missing as missing:
            raise _unset(target, missing) from None
        if not outcome.delivered:
            hint = "What is in a URL for which service: https://appriseit.com/services/"
            raise NetworkError(f"{target} was not reached: {outcome.error}.", hint=hint)

    def stop(self) -> None:
        """End what is being sent; it counts as not sent."""
        self._stopped.set()
        with self._lock:
            for child in self._children:
                child.kill()

    def _ask(self, order: bytes) -> Outcome:
        env = {name: value for name, value in os.environ.items() if name not in SERVER_ONLY}
        with self._lock:
            if self._stopped.is_set():
                return Outcome(False, "the server stopped meanwhile")
            child = subprocess.Popen(
                [sys.executable, *_CHILD],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env,
                start_new_session=True,  # Ctrl-C is for the server, which lets it finish
            )  # fmt: skip
            self._children.add(child)
        try:
            said, _ = child.communicate(order, timeout=self._timeout_s)
            return Outcome(**json.loads(said))
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            return Outcome(False, f"not done within {self._timeout_s:.0f} s")
        except (OSError, ValueError, TypeError):  # it was ended, or broke: it prints one object or nothing
            return Outcome(False, f"the sender ended with status {child.wait()}")
        finally:
            with self._lock:
                self._children.discard(child)


def _unset(target: str, missing: Missing) -> TunelineError:
    if INSTALL in missing.what:
        return MissingPartError("Notices are sent by apprise, which is not installed.", hint=INSTALL)
    return SettingError(
        f"{target} cannot be told: {missing.what}.", hint="Set it where the server runs, and start that anew."
    )
