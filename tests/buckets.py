"""Real object stores on loopback: S3 as moto speaks it, Google's as its emulator does."""

from collections.abc import Iterator
from contextlib import contextmanager
from wsgiref.types import StartResponse, WSGIEnvironment

import boto3
import pytest
from gcp_storage_emulator.server import create_server
from moto.server import ThreadedMotoServer

BUCKET = "lines"


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
