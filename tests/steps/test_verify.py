"""Real trainer and runtime process, tiny random models: what is served is what was trained, or is refused."""

import json
import os
import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest
from tests.serve.releases import make_release, make_step, write_adapter, write_json, write_test_split
from tests.tiny import tiny_base

from tuneline.errors import ModelError, ProofError
from tuneline.steps import verify
from tuneline.steps.verify import Subject

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    os.environ["OMP_NUM_THREADS"] = "1"
    return make_release(tmp_path_factory.mktemp("llama"), "llama")


@pytest.fixture
def subject(made: Path, tmp_path: Path) -> Subject:
    """A copy whose files a test may spoil."""
    for name in ("base", "adapter", "served", "test"):
        shutil.copytree(made / name, tmp_path / name)
    return Subject(
        "llamacpp", *(tmp_path / name for name in ("base", "adapter", "served", "test")), dtype="float32"
    )


def test_the_step_proves_an_honest_conversion_and_writes_the_proof(made: Path, tmp_path: Path) -> None:
    """The llama family: query and key rows are in another order in GGUF, so a wrong conversion fails here."""
    inputs = {name: made / name for name in ("base", "adapter", "test")}
    outputs = {"served": tmp_path / "served", "proof": tmp_path / "proof.json"}
    verify.run(make_step({"runtime": "llamacpp", "dtype": "float32", "max_length": 128}, inputs, outputs))
    proof = json.loads(outputs["proof"].read_text())
    assert proof["passed"]
    assert (proof["prompts"], proof["token_ids_equal"], proof["agreement"]) == (64, 64, 1.0)
    assert proof["mean_logprob_diff"] < 0.03
    assert (proof["runtime"], proof["quantization"]) == ("llamacpp", "none")


def test_gemma_is_proven_too(tmp_path: Path) -> None:
    folder = make_release(tmp_path / "gemma", "gemma3")
    found = verify.prove(
        Subject("llamacpp", *(folder / name for name in ("base", "adapter", "served", "test")), "float32")
    )
    assert found.passed, found.reasons


def test_long_answers_are_proven_token_by_token(made: Path, tmp_path: Path) -> None:
    """Of a text few answers are decided to their end; of each token it is known."""
    inputs = {name: made / name for name in ("base", "adapter", "test")}
    outputs = {"served": tmp_path / "served", "proof": tmp_path / "proof.json"}
    given = {
        "runtime": "llamacpp",
        "dtype": "float32",
        "max_length": 128,
        "task": "generate",
        "max_new_tokens": 24,
    }
    verify.run(make_step(given, inputs, outputs))
    proof = json.loads(outputs["proof"].read_text())
    assert proof["passed"]
    assert proof["decided_tokens"] > proof["decided"]
    assert proof["tokens_equal"] >= 0.99 * proof["decided_tokens"]
    assert verify.answer_tokens({"task": "generate", "max_new_tokens": 500}) == 64
    assert verify.answer_tokens({"task": "classify", "max_new_tokens": 500}) == 16


def test_a_missing_adapter_is_refused(subject: Subject) -> None:
    (subject.served / "adapter.gguf").unlink()
    with pytest.raises(ProofError, match="could not be asked") as caught:
        verify.prove(subject)
    assert "adapter.gguf" in "\n".join(caught.value.details)


def test_an_adapter_without_effect_is_refused(subject: Subject) -> None:
    rewrite(subject.served / "adapter.gguf", scale=0.0)
    assert_refused(subject, "log-probabilities differ")


def test_a_doubled_alpha_is_refused(subject: Subject) -> None:
    rewrite(subject.served / "adapter.gguf", alpha=16.0)
    assert_refused(subject, "log-probabilities differ")


def test_a_template_short_of_one_space_is_refused(subject: Subject) -> None:
    trained = json.loads((subject.adapter / "tuneline.json").read_text())
    trained["template"]["prompt"] = trained["template"]["prompt"].replace("Review: ", "Review:")
    write_json(subject.adapter / "tuneline.json", trained)
    with pytest.raises(
        ProofError, match="could not be asked"
    ) as caught:  # the runtime checks the hash itself
        verify.prove(subject)
    assert "template" in "\n".join(caught.value.details)


def test_held_out_prompts_of_another_template_are_refused(subject: Subject) -> None:
    write_json(
        subject.test / "info.json",
        {**json.loads((subject.test / "info.json").read_text()), "template_hash": "sha256:" + "0" * 64},
    )
    assert_refused(subject, "another template")


def test_another_tokenizer_is_refused(subject: Subject) -> None:
    """The base's tokenizer.json changed: one learned piece fewer, so hash and ids are not the GGUF's."""
    path = subject.base / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["merges"] = []
    write_json(path, tokenizer)
    assert_refused(subject, "tokenizer is not the one", "other token ids")


def test_another_quantization_of_the_base_is_refused(subject: Subject) -> None:
    requantize(subject.base / "base.gguf")
    assert_refused(subject, "base.gguf is not the file")


def test_an_adapter_of_another_base_is_refused(made: Path, tmp_path: Path) -> None:
    other = tiny_base(tmp_path / "other", "llama", seed=1)
    adapter = write_adapter(tmp_path / "adapter", other, kv=32)
    served, test = tmp_path / "served", write_test_split(tmp_path / "test")
    subject = Subject("llamacpp", made / "base", adapter, served, test, "float32")
    verify.make_served(subject)
    assert_refused(subject, "trained on another base")


def test_too_few_prompts_are_refused_with_what_to_do(subject: Subject, tmp_path: Path) -> None:
    few = write_test_split(tmp_path / "few", rows=63)
    with pytest.raises(ProofError, match="63 rows; a proof needs 64") as caught:
        verify.prove(Subject("llamacpp", subject.base, subject.adapter, subject.served, few))
    assert "data.split.test" in caught.value.hint


def test_a_full_model_is_not_for_llama_cpp(subject: Subject, tmp_path: Path) -> None:
    trained = json.loads((subject.adapter / "tuneline.json").read_text())
    write_json(subject.adapter / "tuneline.json", {**trained, "method": "full"})
    with pytest.raises(ModelError, match="All of the model was trained"):
        verify.make_served(Subject("llamacpp", subject.base, subject.adapter, tmp_path / "new", subject.test))


def test_the_transformers_runtime_is_proven_the_same_way(made: Path, tmp_path: Path) -> None:
    subject = Subject(
        "transformers", made / "base", made / "adapter", tmp_path / "served", made / "test", dtype="float32"
    )
    verify.make_served(subject)
    found = verify.prove(subject)
    assert found.passed, found.reasons
    assert found.max_logprob_diff < 1e-3
    assert found.identity.quantization == "none"


def assert_refused(subject: Subject, *reasons: str) -> None:
    found = verify.prove(subject)
    assert not found.passed
    for reason in reasons:
        assert any(reason in said for said in found.reasons), found.reasons
    assert reasons[0] in str(verify.failure(found).details)


def rewrite(path: Path, *, alpha: float | None = None, scale: float = 1.0) -> None:
    """The same adapter with another alpha, or its tensors scaled."""
    reader = gguf.GGUFReader(path)
    tensors = {tensor.name: np.array(tensor.data) * np.float32(scale) for tensor in reader.tensors}
    found = reader.fields["adapter.lora.alpha"].contents()
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(path.with_suffix(".new"), architecture)
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha if alpha is not None else found)
    finish(writer, tensors)
    path.with_suffix(".new").replace(path)


def requantize(path: Path) -> None:
    """The same base with its matrices in Q8_0."""
    reader = gguf.GGUFReader(path)
    writer = gguf.GGUFWriter(path.with_suffix(".new"), reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            kind = field.types[0]
            writer.add_key_value(
                name, field.contents(), kind, field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
            )
    for tensor in reader.tensors:
        if tensor.data.ndim == 2:
            data = gguf.quants.quantize(np.array(tensor.data), gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(tensor.name, data, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(tensor.name, np.array(tensor.data))
    finish(writer, {})
    path.with_suffix(".new").replace(path)


def finish(writer: gguf.GGUFWriter, tensors: dict[str, np.ndarray]) -> None:
    for name, value in tensors.items():
        writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
