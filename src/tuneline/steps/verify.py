"""The step `verify`: makes what the runtime loads, starts the runtime as it will be deployed, and proves that
it is the model that was trained. A proof that fails ends the run; its every reason is in the error.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneline.errors import ModelError, ProofError
from tuneline.execute.files import digest_path
from tuneline.serve import asking, child, gguf_adapter, gguf_merged, package, proof, runtimes, vllm_python
from tuneline.serve.asking import Question, Reply
from tuneline.serve.loading import read_json
from tuneline.serve.prompting import field_of, with_template
from tuneline.serve.proof import Compared, Identity, Proof
from tuneline.serve.vllm_config import options_of, quantization_of
from tuneline.settings import Settings
from tuneline.steps.io import Step
from tuneline.train.rows import Split, read_split
from tuneline.train.tokenizer import tokenizer_hash

MAX_ANSWER = 16
"""Tokens of an answer that are compared; a classifier's answer has two or three."""
MAX_TEXT = 64
"""The same where the model generates texts, at most `evaluate.max_new_tokens`."""

AtWork = Callable[[], AbstractContextManager[None]]
"""Entered while a model works: see `Step.model_at_work`."""


@dataclass(frozen=True)
class Subject:
    """What is to be proven: folders, as the line made them."""

    runtime: str
    base: Path
    adapter: Path
    served: Path
    test: Path
    dtype: str = "auto"
    answer_tokens: int = MAX_ANSWER
    merged: Path | None = None
    """The whole model in Hugging Face's layout, where the release is merged."""
    python: Path | None = None
    """For vLLM: as `TUNELINE_VLLM_PYTHON`."""
    vllm: Mapping[str, Any] = field(default_factory=dict)
    """For vLLM: `deploy.vllm`."""


def run(step: Step) -> None:
    """Parameters: runtime, dtype, max_length, task, max_new_tokens, and vllm if that serves here.

    Inputs: base, adapter, test, report, and merged where the release is. Puts out served and proof.

    Raises: ProofError with every reason if the runtime does not give what was trained.
    """
    subject = Subject(
        runtimes.proven_by(str(step.parameters["runtime"]), "vllm" in step.parameters),
        step.inputs["base"],
        step.inputs["adapter"],
        step.outputs["served"],
        step.inputs["test"],
        str(step.parameters["dtype"]),
        answer_tokens(step.parameters),
        step.inputs.get("merged"),
        Settings.from_env(os.environ).vllm_python,
        step.parameters.get("vllm") or {},
    )
    make_served(subject)
    found = prove(subject, step)
    step.outputs["proof"].write_text(
        json.dumps(found.to_json(), indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )
    if not found.passed:
        raise failure(found)


def answer_tokens(parameters: Mapping[str, Any]) -> int:
    """How many tokens of each answer are compared."""
    if parameters.get("task") != "generate":
        return MAX_ANSWER
    return min(int(parameters["max_new_tokens"]), MAX_TEXT)


def make_served(subject: Subject) -> None:
    """Write the `served` folder: what the runtime loads beyond the base.

    Raises: ModelError if this runtime cannot serve what was trained.
    """
    subject.served.mkdir(parents=True)
    trained = read_json(subject.adapter / "tuneline.json")
    if subject.merged is not None:
        shutil.copytree(subject.merged, subject.served / "merged", copy_function=_link)
    if subject.runtime != "llamacpp":
        said = json.dumps({"runtime": subject.runtime})
        (subject.served / f"{subject.runtime}.json").write_text(said + "\n", encoding="utf-8")
        return
    if trained["method"] != "lora":
        raise ModelError(
            "All of the model was trained (train.method: full); llama.cpp serves a base with an adapter.",
            hint="Set deploy.runtime: transformers, or train.method: lora.",
        )
    if subject.merged is not None:
        gguf_merged.convert(subject.base, subject.adapter, subject.merged, subject.served / "model.gguf")
        return
    gguf_adapter.convert(
        subject.adapter, read_json(subject.base / "config.json"), subject.served / "adapter.gguf"
    )


def prove(subject: Subject, step: Step | None = None) -> Proof:
    """Both sides over the same held-out prompts; `step`, if given, hears how far it is.

    Raises: ProofError if there are too few prompts, or the runtime does not start with these files.
    """
    bounds = proof.LONG if subject.answer_tokens > MAX_ANSWER else proof.Bounds()
    split = read_split(subject.test)
    if split.rows.height < bounds.min_prompts:
        raise ProofError(
            f"The held-out set has {split.rows.height} rows; a proof needs {bounds.min_prompts} prompts.",
            hint="Raise data.split.test, or give more data.",
        )
    trained = read_json(subject.adapter / "tuneline.json")
    identity = identify(subject)
    faults = identity_faults(identity, trained, split, read_json(subject.base / "base.json"))
    questions = choose(split, bounds.min_prompts, subject.answer_tokens)
    at_work = nullcontext if step is None else step.model_at_work
    replies = _replies(subject, questions, at_work)
    if step is not None:
        step.progress(len(replies), 2 * len(questions), "prompts")
    rows = _scored(subject, questions, replies, at_work)
    if step is not None:
        step.progress(2 * len(questions), 2 * len(questions), "prompts")
    return proof.prove(identity, rows, faults, bounds)


def identify(subject: Subject) -> Identity:
    """What exactly is compared, by digest. Raises: ProofError if the base has no file for this runtime."""
    kind = runtimes.kind(subject.runtime)
    if kind is runtimes.VLLM:
        version = vllm_python.find(subject.python).version
        quantization = quantization_of(options_of(subject.vllm))
    else:
        version, quantization = kind.version, "none"
    base = read_json(subject.base / "base.json")
    trained = read_json(subject.adapter / "tuneline.json")
    return Identity(
        runtime=kind.name,
        runtime_version=version,
        quantization=str(base["quantization"]) if kind.quantized else quantization,
        base_digest=digest_path(subject.base)[0],
        base_file_sha256=proof.base_file_sha256(subject.base, kind.name),
        adapter_digest=digest_path(subject.adapter)[0],
        served_digest=digest_path(subject.served)[0],
        template_hash=str(trained["template_hash"]),
        tokenizer_hash=tokenizer_hash(subject.base),
        form="adapter" if subject.merged is None else "merged",
    )


def identity_faults(
    identity: Identity, trained: Mapping[str, Any], split: Split, base: Mapping[str, Any]
) -> list[str]:
    """What the digests alone show to be another thing than the trained one."""
    faults = []
    if identity.tokenizer_hash != trained["tokenizer_hash"]:
        faults.append("the tokenizer is not the one it was trained with: its hash is another")
    if split.info["template_hash"] != trained["template_hash"]:
        faults.append("the held-out prompts have another template than the trained one: its hash is another")
    try:
        package.template_of(trained)
    except ModelError as error:
        faults.append(error.message)
    if identity.runtime == "llamacpp" and not _same_sha(identity.base_file_sha256, base["file_sha256"]):
        faults.append("base.gguf is not the file the base was made from: its sha256 is another")
    if not _same_sha(str(trained["base"]["file_sha256"]), str(base["file_sha256"])):
        faults.append(f"the adapter was trained on another base: {trained['base'].get('name')}")
    return faults


def choose(split: Split, count: int, tokens: int = MAX_ANSWER) -> list[Question]:
    """The held-out rows with the smallest hash, as questions: the same ones every time."""
    template = str((split.info.get("template") or {}).get("prompt") or "")
    found = []
    for row in split.rows.sort("row").head(count).iter_rows(named=True):
        if split.chat:
            messages = json.loads(row["messages"])
            found.append(Question("", tuple(messages[:-1]), tokens))
            continue
        field = field_of(template, row["prompt"])
        asked = (
            field if field is not None and with_template(template, field) == row["prompt"] else row["prompt"]
        )
        found.append(Question(row["prompt"], ({"role": "user", "content": asked},), tokens))
    return found


def vllm_words(python: Path | None, options: Mapping[str, Any]) -> list[str | Path]:
    """What of a runtime's command line is vLLM's."""
    return ["--python", vllm_python.interpreter(python), "--vllm", json.dumps(options, sort_keys=True)]


def failure(found: Proof) -> ProofError:
    """The error of a proof that does not hold."""
    return ProofError(
        f"What {found.identity.runtime} {found.identity.runtime_version} serves is not what was trained: "
        f"{found.reasons[0]}.",
        hint="Nothing was released. docs/proof.md says what each reason means.",
        details=list(found.reasons),
    )


def _link(source: str, target: str) -> None:
    """A file of another artifact, in a second place without its bytes; copied where that cannot be."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _replies(subject: Subject, questions: list[Question], at_work: AtWork) -> list[Reply]:
    arguments: list[str | Path] = ["--runtime", subject.runtime, "--model", "proof", "--base", subject.base]
    arguments += ["--served", subject.served, "--adapter", subject.adapter]
    if subject.runtime == runtimes.VLLM.name:
        arguments += vllm_words(subject.python, subject.vllm)
    try:
        with child.running(arguments) as url, at_work():
            return asking.ask_all(url, questions)
    except ModelError as error:
        raise ProofError(
            f"The runtime could not be asked: {error.message}",
            hint="Nothing was released. Run the project again to make the files anew.",
            details=error.details,
        ) from error


def _scored(
    subject: Subject, questions: list[Question], replies: list[Reply], at_work: AtWork
) -> list[Compared]:
    from tuneline.train import model as trainer  # noqa: PLC0415 - brings torch: four seconds

    model = trainer.load(subject.base, subject.adapter, subject.dtype)
    prompts = [
        model.prompt_token_ids(question.prompt)
        if question.prompt
        else model.tokenizer.encode_chat(question.messages, generate=True)
        for question in questions
    ]
    with at_work():
        scores = model.continuation_logprobs(prompts, [reply.answer for reply in replies])
    rows = []
    for prompt, reply, scored in zip(prompts, replies, scores, strict=True):
        # the ids of the text and of the conversation must both be the trainer's
        served = reply.prompt_ids if reply.prompt_ids != tuple(prompt) else reply.chat_ids
        rows.append(
            Compared(
                prompt_ids_trained=tuple(prompt),
                prompt_ids_served=served,
                answer=reply.answer,
                logprobs_served=reply.logprobs,
                logprobs_trained=tuple(score.logprob for score in scored),
                best_trained=tuple(score.argmax for score in scored),
                margins_trained=tuple(score.margin for score in scored),
            )
        )
    return rows


def _same_sha(one: str, other: str) -> bool:
    return one.removeprefix("sha256:") == other.removeprefix("sha256:")
