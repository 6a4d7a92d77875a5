"""What of vLLM's HTTP server matters here, as its sources have it (`entrypoints/openai/models/serving.py`):
models, loading and unloading of adapters, completions. A real server in a thread; no model.

    /health, /v1/models, /v1/load_lora_adapter, /v1/unload_lora_adapter, /v1/completions, /metrics

An adapter whose path has `bad` in it does not load; one with `slow` fails requests with 500.
"""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Vllm:
    """The state of one pod."""

    def __init__(self):
        self.loaded = {}
        self.asked = []
        self.healthy = True

    def models(self):
        cards = [{"id": "base", "root": "/base", "parent": None}]
        return cards + [{"id": name, "root": path, "parent": "base"} for name, path in self.loaded.items()]

    def load(self, name, path):
        if name in self.loaded:
            return 400, f"The lora adapter '{name}' has already been loaded. If you want to load it in place"
        if "bad" in path:
            return 500, f"Loading lora {name} failed: rank 64 is greater than max_lora_rank 8."
        self.loaded[name] = path
        return 200, f"Success: LoRA adapter '{name}' added successfully."

    def unload(self, name):
        if self.loaded.pop(name, None) is None:
            return 404, f"The lora adapter '{name}' cannot be found."
        return 200, f"Success: LoRA adapter '{name}' removed successfully."

    def answer(self, method, path, body):
        """Status and JSON or text."""
        if path == "/health":
            return (200, "") if self.healthy else (503, "")
        if path == "/v1/models":
            return 200, {"object": "list", "data": self.models()}
        if path == "/v1/load_lora_adapter":
            status, text = self.load(body["lora_name"], body["lora_path"])
        elif path == "/v1/unload_lora_adapter":
            status, text = self.unload(body["lora_name"])
        elif path == "/v1/completions":
            return self.complete(body)
        else:
            status, text = 404, "Not Found"
        return status, text if status == 200 else {"error": {"message": text, "code": status}}

    def complete(self, body):
        name = body.get("model")
        self.asked.append(name)
        if name != "base" and name not in self.loaded:
            return 404, {"error": {"message": f"The model `{name}` does not exist.", "code": 404}}
        if "slow" in self.loaded.get(name, ""):
            return 500, {"error": {"message": "EngineCore died", "code": 500}}
        return 200, {"model": name, "choices": [{"text": " positive"}], "prompt": body.get("prompt")}


def handler(vllm):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.reply(*vllm.answer("GET", self.path, None))

        def do_POST(self):
            data = self.rfile.read(int(self.headers["content-length"]))
            self.reply(*vllm.answer("POST", self.path, json.loads(data)))

        def reply(self, status, body):
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            return

    return Handler


@contextlib.contextmanager
def serving(handler_class):
    """A server in a thread; its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_class)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def vllm_server():
    """A running one, and its port."""
    vllm = Vllm()
    with serving(handler(vllm)) as port:
        yield vllm, port
