"""What the llama.cpp child is told; apart from the child so that its parent never loads llama.cpp."""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Config:
    """What to load and how. Paths are absolute."""

    model: str
    """A GGUF file; memory-mapped, never read whole."""
    socket: str
    adapter: str = ""
    """A GGUF LoRA adapter; empty for the bare model."""
    slots: int = 8
    context: int = 4096
    """Tokens a slot can hold."""
    threads: int = 1

    def to_argument(self) -> str:
        """The text `main` reads."""
        return json.dumps(asdict(self))
