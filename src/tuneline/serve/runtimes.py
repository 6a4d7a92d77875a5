"""The runtimes there are, and what each needs. To add one: a module with `version()` and `start()`, and a
line here.

A runtime's module is imported only in the process that serves with it: llama.cpp and torch stay out of all
others.
"""

import importlib
import importlib.metadata
from dataclasses import dataclass
from typing import Protocol, cast

from tuneline.errors import MissingPartError, SettingError
from tuneline.serve.engine import Engine, Loadable


@dataclass(frozen=True)
class Kind:
    """One runtime."""

    name: str
    module: str
    distribution: str
    """The Python distribution that computes; its version is the one the proof names."""
    extra: str
    """What of tuneline to install for it."""
    base_file: str
    """The file of the base artifact it loads."""
    quantized: bool
    """Whether it computes with the base's own quantized weights, or with the full ones made from them."""

    @property
    def version(self) -> str:
        """The installed version. Raises: MissingPartError."""
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError as error:
            raise MissingPartError(
                f"The runtime `{self.name}` needs {self.distribution}, which is not installed.",
                hint=f"Install it with: pip install 'tuneline[{self.extra}]'",
            ) from error

    async def start(self, loadable: Loadable, *, threads: int, slots: int, context: int) -> Engine:
        """The engine, loaded. Raises: ModelError if the files do not fit each other; MissingPartError."""
        found = self.version
        module = cast(_Module, importlib.import_module(self.module))
        return await module.start(loadable, found, threads=threads, slots=slots, context=context)


class _Module(Protocol):
    async def start(
        self, loadable: Loadable, version: str, *, threads: int, slots: int, context: int
    ) -> Engine: ...


LLAMACPP = Kind("llamacpp", "tuneline.serve.llamacpp", "xllamacpp", "llamacpp", "base.gguf", True)
TRANSFORMERS = Kind(
    "transformers", "tuneline.serve.transformers_runtime", "transformers", "train", "model.safetensors", False
)
PYFUNC = Kind("pyfunc", "", "tuneline", "", "", False)
"""A project's own code: no engine, and its version is that of the environment it runs in."""
VLLM = Kind("vllm", "", "vllm", "", "model.safetensors", False)
"""In an environment of its own: `vllm_python` says which, and its version; `vllm` starts it."""
KINDS = {kind.name: kind for kind in (LLAMACPP, TRANSFORMERS, VLLM, PYFUNC)}


def proven_by(name: str, here: bool) -> str:
    """The runtime whose proof counts for `name`. here: whether it serves on this machine. On a cluster vLLM
    loads the same files as transformers, so the proof is made with that."""
    return TRANSFORMERS.name if name == VLLM.name and not here else name


def kind(name: str) -> Kind:
    """The runtime of that name. Raises: SettingError with the names there are."""
    if name not in KINDS:
        raise SettingError(
            f"There is no runtime `{name}`.", hint=f"deploy.runtime is one of: {', '.join(KINDS)}."
        )
    return KINDS[name]
