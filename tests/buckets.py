"""Real object stores on loopback: S3 as moto speaks it, Google's as its emulator does, Azure's as Azurite."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

import boto3
import pytest
from gcp_storage_emulator.server import create_server
from moto.server import ThreadedMotoServer

BUCKET = "lines"
AZURITE = Path(os.environ.get("TUNELINE_TEST_AZURITE") or Path(__file__).parent.parent / ".azurite")
"""Where `make azurite` installs it."""
_AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The one that Azurite's documentation gives to everybody."""


class Flaky:
    """A WSGI app in front of another: answers 503 to as many object requests as it was told to."""

    def __init__(self, app) -> None:
        self.app, self.left, self.seen = app, 0, []

    def __call__(self, environ: WSGIEnvironment, start: StartResponse):
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self.seen.append(f"{method} {path}")
        if self.left and path.count("/") > 1:
            self.left -= 1
            start("503 Slow Down", [("Content-Type", "application/xml"), ("Connection", "close")])
            return [
                b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
            ]
        return self.app(environ, start)


@contextmanager
def s3() -> Iterator[tuple[Flaky, dict[str, str]]]:
    """An S3 server with one bucket, and the environment in which the library finds it."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    env = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }
    assert server._server is not None
    flaky = Flaky(server._server.app)
    server._server.app = flaky
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        client.close()
    yield flaky, env
    server.stop()


@contextmanager
def gcs() -> Iterator[dict[str, str]]:
    """A Google Cloud Storage server with one bucket: the environment in which the library finds it."""
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket=BUCKET)
    server.start()
    yield {
        "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{server._api._httpd.server_address[1]}",
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # it asks a server that is not there
    }
    server.stop()


def azurite_program() -> Path | None:
    """Azurite's blob server; None where it, or Node.js, is not installed."""
    program = AZURITE / "node_modules/azurite/dist/src/blob/main.js"
    return program if program.is_file() and shutil.which("node") else None


def azure_env(url: str) -> dict[str, str]:
    """The environment in which the library finds Azurite at `url`."""
    parts = {
        "DefaultEndpointsProtocol": "http", "AccountName": "devstoreaccount1", "AccountKey": _AZURITE_KEY,
        "BlobEndpoint": f"{url}/devstoreaccount1",
    }  # fmt: skip
    return {"AZURE_STORAGE_CONNECTION_STRING": "".join(f"{name}={value};" for name, value in parts.items())}


@contextmanager
def azure() -> Iterator[str]:
    """An Azure Blob Storage server without a container: its URL. It takes a second to start."""
    program = azurite_program()
    assert program is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence"]
    options += ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    server = subprocess.Popen(["node", str(program), *options], stdout=pipe, stderr=null, text=True)
    assert server.stdout is not None
    server.stdout.readline()  # it says so when it listens
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()
