"""The proof that what is served is what was trained: a pure comparison, its bounds, and the check before
serving.

Held-out prompts go through both sides. The runtime, started as it will be deployed, tokenizes each prompt,
answers it greedily and reports the log-probability of every token; the trainer's model scores the same tokens
in one pass. The bounds were measured first (docs/proof.md) and are frozen here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tuneline.errors import ProofError
from tuneline.serve.package import Package, file_digest

SCHEMA = 1


@dataclass(frozen=True)
class Bounds:
    """What a proof demands."""

    min_prompts: int = 64
    decided_margin: float = 0.5
    """Nat between the trainer's two most likely tokens from which on it has decided."""
    min_agreement: float = 0.97
    """Of the answers the trainer had decided, how many must be the same; 0: that is not asked."""
    max_mean_logprob_diff: float = 0.10
    """Nat a token."""
    min_token_agreement: float = 0.97
    """Of the tokens the trainer had decided, each after those that the runtime gave before it, how many must
    be the same: what tells of long answers, few of which are decided to their end."""


LONG = Bounds(min_agreement=0.0, min_token_agreement=0.99)
"""For answers of many tokens. One token that rounding decides is one of hundreds, but makes a whole answer
another one; so tokens are asked instead, and more of them. Measured in docs/proof.md: an honest pair 99.8 %
and more, an alpha a quarter too large 98.9 % and less."""


@dataclass(frozen=True)
class Compared:
    """One prompt through both sides."""

    prompt_ids_trained: tuple[int, ...]
    prompt_ids_served: tuple[int, ...]
    answer: tuple[int, ...]
    """The runtime's tokens."""
    logprobs_served: tuple[float | None, ...]
    """Nat, one a token of the answer; None where the runtime reports none."""
    logprobs_trained: tuple[float, ...]
    """The trainer's, of the same tokens."""
    best_trained: tuple[int, ...]
    """The trainer's most likely token at each place."""
    margins_trained: tuple[float, ...]
    """Nat between its first and second."""

    def decided_tokens(self, margin: float) -> list[bool]:
        """For each token the trainer had decided: whether the runtime gave it."""
        rows = zip(self.best_trained, self.answer, self.margins_trained, strict=True)
        return [best == token for best, token, gap in rows if gap > margin]


@dataclass(frozen=True)
class Identity:
    """What exactly was compared. A proof holds for this combination and no other."""

    runtime: str
    runtime_version: str
    quantization: str
    base_digest: str
    base_file_sha256: str
    adapter_digest: str
    served_digest: str
    template_hash: str
    tokenizer_hash: str
    form: str = "adapter"
    """`merged` where the runtime loads the whole model; `served_digest` is then its digest too."""


@dataclass(frozen=True)
class Proof:
    """The outcome, as proof.json has it."""

    identity: Identity
    prompts: int
    token_ids_equal: int
    decided: int
    """Prompts whose whole answer the trainer had decided."""
    answers_equal: int
    """Of those."""
    mean_logprob_diff: float
    max_logprob_diff: float
    decided_tokens: int = 0
    tokens_equal: int = 0
    """Of those."""
    bounds: Bounds = field(default_factory=Bounds)
    reasons: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the two sides are the same model."""
        return not self.reasons

    @property
    def agreement(self) -> float:
        """Share of decided answers that are the same; 1 if nothing was decided."""
        return self.answers_equal / self.decided if self.decided else 1.0

    def to_json(self) -> dict[str, Any]:
        """proof.json. Numbers are rounded: their last digits depend on the machine."""
        return {
            "schema": SCHEMA,
            "passed": self.passed,
            **asdict(self.identity),
            "prompts": self.prompts,
            "token_ids_equal": self.token_ids_equal,
            "decided": self.decided,
            "answers_equal": self.answers_equal,
            "agreement": round(self.agreement, 6),
            "decided_tokens": self.decided_tokens,
            "tokens_equal": self.tokens_equal,
            "mean_logprob_diff": _rounded(self.mean_logprob_diff),
            "max_logprob_diff": _rounded(self.max_logprob_diff),
            "bounds": asdict(self.bounds),
            "reasons": list(self.reasons),
        }


def prove(
    identity: Identity, rows: Sequence[Compared], faults: Sequence[str] = (), bounds: Bounds = Bounds()
) -> Proof:
    """The proof of a comparison. `faults` are what was found wrong before any prompt was asked."""
    differences = [
        abs(served - trained)
        for row in rows
        for served, trained in zip(row.logprobs_served, row.logprobs_trained, strict=True)
        if served is not None
    ]
    decided = [row for row in rows if is_decided(row, bounds.decided_margin)]
    tokens = [same for row in rows for same in row.decided_tokens(bounds.decided_margin)]
    proof = Proof(
        identity,
        prompts=len(rows),
        token_ids_equal=sum(row.prompt_ids_served == row.prompt_ids_trained for row in rows),
        decided=len(decided),
        answers_equal=sum(row.answer == row.best_trained for row in decided),
        mean_logprob_diff=sum(differences) / len(differences) if differences else math.inf,
        max_logprob_diff=max(differences, default=math.inf),
        decided_tokens=len(tokens),
        tokens_equal=sum(tokens),
        bounds=bounds,
    )
    return Proof(**{**vars(proof), "reasons": (*faults, *_reasons(proof))})


def is_decided(row: Compared, margin: float) -> bool:
    """Whether the trainer was sure of every token, up to the first where it would have gone another way."""
    for best, token, gap in zip(row.best_trained, row.answer, row.margins_trained, strict=True):
        if gap <= margin:
            return False
        if best != token:
            return True
    return True


def check_servable(
    package: Package, proof: Mapping[str, Any], runtime: str, runtime_version: str, base: Path
) -> None:
    """Called before a revision is started.

    Raises: ProofError, one line each way in which package, runtime and base (its artifact's folder) are not
    what was proven.
    """
    if not proof.get("passed"):
        raise ProofError(
            f"The release of {package.manifest['model']} was never proven.",
            hint="Run the project again: `verify` makes the proof.",
            details=[str(reason) for reason in proof.get("reasons", [])],
        )
    manifest = package.manifest
    here = {
        "runtime": runtime,
        "runtime_version": runtime_version,
        "base_file_sha256": base_file_sha256(base, runtime),
        "served_digest": manifest["served_digest"],
        "adapter_digest": manifest["adapter_digest"],
        "template_hash": manifest["template_hash"],
        "tokenizer_hash": manifest["tokenizer_hash"],
    }
    odd = [
        f"{name}: proven {proof.get(name)}, here {value}"
        for name, value in here.items()
        if proof.get(name) != value
    ]
    if odd:
        raise ProofError(
            f"Serving {manifest['model']} this way was never proven: {odd[0]}.",
            hint="Run the project again: `verify` proves the release with what is installed now.",
            details=odd,
        )


def base_file_sha256(base: Path, runtime: str) -> str:
    """The digest of the base's file that `runtime` loads: base.gguf for llama.cpp, the weights for
    transformers, none for pyfunc.

    Raises: ProofError if it is not there.
    """
    if runtime == "pyfunc":
        return ""
    path = base / ("base.gguf" if runtime == "llamacpp" else "model.safetensors")
    if not path.is_file():
        raise ProofError(
            f"The base has no {path.name} for the runtime `{runtime}` ({base}).",
            hint="Use another deploy.runtime, or a base_model that comes as GGUF.",
        )
    return file_digest(path)


def _rounded(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def _reasons(proof: Proof) -> list[str]:
    bounds, reasons = proof.bounds, []
    if proof.prompts < bounds.min_prompts:
        reasons.append(f"{proof.prompts} held-out prompts were compared; a proof needs {bounds.min_prompts}")
    if proof.token_ids_equal < proof.prompts:
        other = proof.prompts - proof.token_ids_equal
        reasons.append(
            f"{other} of {proof.prompts} prompts have other token ids in the runtime than in training"
        )
    if proof.decided and proof.agreement < bounds.min_agreement:
        reasons.append(
            f"{proof.answers_equal} of {proof.decided} decided answers are the same ({proof.agreement:.1%}); "
            f"at least {bounds.min_agreement:.0%} must be"
        )
    if proof.tokens_equal < bounds.min_token_agreement * proof.decided_tokens:
        reasons.append(
            f"{proof.tokens_equal} of {proof.decided_tokens} decided tokens are the same "
            f"({proof.tokens_equal / proof.decided_tokens:.1%}); "
            f"at least {bounds.min_token_agreement:.0%} must be"
        )
    if not proof.mean_logprob_diff <= bounds.max_mean_logprob_diff:
        reasons.append(
            f"the log-probabilities differ by {proof.mean_logprob_diff:.3f} nat a token on average; "
            f"at most {bounds.max_mean_logprob_diff:.2f} are allowed"
        )
    return reasons
