"""A tuneline of its own for one test: its home, its commands as child processes, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
from tests.living import of_home

from tuneline.client import Client, find_server
from tuneline.settings import Settings


class World:
    """One TUNELINE_HOME. All it starts carries that home in its environment, and is found and ended by it."""

    def __init__(self, home: Path, **env: str) -> None:
        self.home = home
        self._children: list[subprocess.Popen[str]] = []
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("TUNELINE_")}
        self.env |= {
            "TUNELINE_HOME": str(home),
            "TUNELINE_PORT": "0",
            "TUNELINE_OFFLINE": "1",
            "TUNELINE_DRAIN_S": "5",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            **env,
        }

    @property
    def settings(self) -> Settings:
        return Settings.from_env(self.env)

    def start(self, *arguments: str, **options) -> "subprocess.Popen[str]":
        """`tuneline ARGUMENTS` as a process group of its own, as a terminal starts it."""
        command = [sys.executable, "-m", "tuneline", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(
            command, env=self.env, stdin=subprocess.DEVNULL, start_new_session=True, **{**pipes, **options}
        )

    def cli(self, *arguments: str, timeout_s: float = 400) -> "subprocess.CompletedProcess[str]":
        """`tuneline ARGUMENTS`, to its end."""
        child = self.start(*arguments)
        try:
            out, err = child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            child.kill()
            out, err = child.communicate()
            raise AssertionError(f"tuneline {' '.join(arguments)} did not end:\n{out}\n{err}") from None
        return subprocess.CompletedProcess(child.args, child.returncode, out, err)

    def run(self, project: Path, *arguments: str, expect: int = 0, timeout_s: float = 400) -> dict:
        """`tuneline run PROJECT --json`, its one object. Fails the test unless it exits with `expect`."""
        ended = self.cli("run", str(project), "--json", *arguments, timeout_s=timeout_s)
        assert ended.returncode == expect, (
            f"exit {ended.returncode}\n{ended.stdout}\n{ended.stderr}\n{self.logs()}"
        )
        return json.loads(ended.stdout)

    def server(self) -> Client:
        """A client of this home's server, started if need be as commands start it."""
        found = self.found()
        if found is None:
            self.home.mkdir(parents=True, exist_ok=True)
            with (self.home / "server.log").open("ab") as log:
                child = self.start("up", "--child", stdout=log, stderr=log)
            found = wait_for(
                self.found, timeout_s=120, unless=lambda: child.poll() is not None, said=self.logs
            )
            self._children.append(child)
        return found

    def found(self) -> Client | None:
        return find_server(self.settings)

    def processes(self) -> list[psutil.Process]:
        """Every process of this home, the oldest first."""
        return of_home(self.home)

    @staticmethod
    def variable(process: psutil.Process, name: str) -> str:
        """A variable of a living process's environment; empty if it has none."""
        try:
            return str(process.environ().get(name, ""))
        except psutil.Error:
            return ""

    def logs(self) -> str:
        """The last lines of the server's log, for a failing test."""
        path = self.home / "server.log"
        return path.read_text(errors="replace")[-3000:] if path.is_file() else ""

    def close(self) -> None:
        """End every process of this home."""
        for _ in range(50):
            left = self.processes()
            if not left:
                for child in self._children:
                    child.wait()
                return
            for process in left:
                try:
                    process.send_signal(signal.SIGKILL)
                except psutil.NoSuchProcess:
                    continue
            psutil.wait_procs(left, timeout=0.2)
        raise AssertionError(f"processes of {self.home} survive SIGKILL: {left}")


def wait_for(what, *, timeout_s: float = 180, every_s: float = 0.05, unless=lambda: False, said=str):
    """The first true answer of `what`, asked again until then; fails at once if `unless` comes true."""
    deadline = time.monotonic() + timeout_s
    while not (answer := what()):
        if unless() or time.monotonic() > deadline:
            raise AssertionError(f"it did not come within {timeout_s} s: {said()}")
        time.sleep(every_s)
    return answer


def ask(url: str, model: str, prompt: str) -> httpx.Response:
    """One completion, greedy; the answer with its headers."""
    body = {"model": model, "prompt": prompt, "max_tokens": 4, "temperature": 0}
    return httpx.post(f"{url}/v1/completions", json=body, timeout=30, trust_env=False)
