"""The process that holds a llama.cpp model: `python -m tuneline.serve.llamacpp_child CONFIG`, one JSON
object.

It is apart from the runtime because loading holds Python's lock for its whole length, and because a fault in
native code must end in one clear error, not in a silent death. It answers llama.cpp's own HTTP API on a Unix
socket that only its user can reach, prints one line when it is ready, and ends when its standard input
closes: that is, with its parent.
"""

import json
import os
import signal
import sys
from typing import Any

import xllamacpp

from tuneline.serve.llamacpp_config import Config


def main(argument: str) -> int:
    """Serve until standard input closes."""
    config = Config(**json.loads(argument))
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # sent to the whole group; the parent drains and then ends us
        signal.signal(number, signal.SIG_IGN)
    try:
        server = _start(config)
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)  # noqa: T201
        return 1
    print(json.dumps({"ready": server.listening_address}), flush=True)  # noqa: T201
    sys.stdin.read()
    os._exit(0)  # without waiting for answers nobody will read


def _start(config: Config) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = config.model
    if config.adapter:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(config.adapter, 1.0)]
    params.hostnames = [config.socket]
    params.n_parallel = config.slots
    params.n_ctx = config.slots * config.context
    params.n_predict = -1
    params.cpuparams.n_threads = config.threads
    params.cpuparams_batch.n_threads = config.threads
    params.fit_params = False  # it loads the model twice to find what fits a GPU: two of three seconds
    params.cache_ram_mib = 0  # it would keep earlier prompts' states, 8 GB of them, for every revision
    params.cache_idle_slots = False
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = 1  # errors only, on standard error
    params.sampling.seed = 0
    return xllamacpp.Server(params)


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main(sys.argv[1]))
