"""Services as notices meet them: a webhook, Slack's incoming webhook, a mail server. Real ones, on loopback,
that misbehave as the test says."""

import contextlib
import datetime
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SLACK = "hooks.slack.com"


@dataclass
class Answer:
    """What a webhook answers once: a status, headers, a body; or it waits until the test ends."""

    status: int = 200
    headers: dict = field(default_factory=dict)
    body: bytes = b"ok"
    hangs: bool = False


@dataclass
class Webhook:
    """A running one. `answers` are used up one by one; after them it takes everything."""

    port: int
    answers: list = field(default_factory=list)
    seen: list = field(default_factory=list)
    """(path, JSON body) of every request, in order."""
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.port}"

    def titles(self, path: str | None = None) -> list:
        return [body["title"] for at, body in self.seen if path in (None, at)]


def _handler(hook: Webhook):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            hook.seen.append((self.path, body))
            answer = hook.answers.pop(0) if hook.answers else Answer()
            if answer.hangs:
                hook.ended.wait(30)
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            return

    return Handler


@contextlib.contextmanager
def webhook() -> Iterator[Webhook]:
    """A webhook that takes JSON."""
    hook = Webhook(0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hook))
    server.daemon_threads = True
    hook.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hook
    finally:
        hook.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Slack(Webhook):
    """hooks.slack.com behind a proxy: clients with the two variables of `env` reach it, and believe it."""

    env: dict = field(default_factory=dict)


@contextlib.contextmanager
def slack(folder: Path) -> Iterator[Slack]:
    """Slack's incoming webhook as its manual has it: 200 `ok`, else 4xx and a word. Over TLS, by CONNECT."""
    certificate, key = _certificate(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    hook = Slack(0)
    listening = socket.create_server(("127.0.0.1", 0))
    hook.port = listening.getsockname()[1]
    hook.env = {"HTTPS_PROXY": f"http://127.0.0.1:{hook.port}", "REQUESTS_CA_BUNDLE": str(certificate)}
    handler = _handler(hook)

    def tunnel(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            asked = b""
            while b"\r\n\r\n" not in asked:
                asked += connection.recv(4096)
            assert asked.startswith(f"CONNECT {SLACK}:443".encode()), asked
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            with context.wrap_socket(connection, server_side=True) as inside:
                handler(inside, ("127.0.0.1", 0), None)

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            tunnel(connection)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield hook
    finally:
        hook.ended.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SLACK)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SLACK)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, file = folder / "slack.pem", folder / "slack.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private)
    return certificate, file


class Mail:
    """What a mail server took, and how it answers."""

    def __init__(self, password: str) -> None:
        self.password = password
        self.taken: list = []
        self.refusals: list = []
        """Replies to the next messages, e.g. `451 Try again later`."""

    async def handle_DATA(self, server, session, envelope) -> str:
        if not session.authenticated:
            return "530 Authentication required"
        if self.refusals:
            return self.refusals.pop(0)
        self.taken.append((envelope.rcpt_tos, envelope.content.decode()))
        return "250 OK"

    def check(self, server, session, envelope, mechanism, data) -> AuthResult:
        return AuthResult(success=data.password.decode() == self.password, handled=False)


@contextlib.contextmanager
def mail_server(password: str) -> Iterator[tuple[Mail, int]]:
    """A mail server that wants a login; the mail and its port."""
    mail = Mail(password)
    port = _free()
    controller = Controller(
        mail, hostname="127.0.0.1", port=port, authenticator=mail.check, auth_require_tls=False
    
    )  # fmt: skip
    controller.start()
    try:
        yield mail, port
    finally:
        controller.stop()


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])
