"""Masks and losses against TRL's own SFTTrainer, on tiny random models. Imports trl, transformers and
datasets: some 10 s."""

import pytest

torch = pytest.importorskip("torch")

from tests.tiny import movie_rows, write_split  # noqa: E402

from tuneline.train import fine_tuning, machine  # noqa: E402
from tuneline.train.model import load_network  # noqa: E402
from tuneline.train.recipe import Recipe  # noqa: E402
from tuneline.train.rows import encode_answer, examples, read_split  # noqa: E402
from tuneline.train.tokenizer import load as load_tokenizer  # noqa: E402
from tuneline.train.training import batch_loss  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def trainer(base, folder, rows, **settings):
    """TRL's trainer as it comes, in float32, over `rows`."""
    from datasets import Dataset  # noqa: PLC0415
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415
    from trl import SFTConfig, SFTTrainer

    ours = load_tokenizer(base)
    names = {key: ours.config[key] for key in ("bos_token", "eos_token", "pad_token", "unk_token")}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=ours.backend, **names)
    tokenizer.chat_template = ours.chat_template or None
    config = SFTConfig(
        output_dir=str(folder), report_to=[], save_strategy="no", use_cpu=True, bf16=False, logging_steps=1,
        gradient_checkpointing=False, disable_tqdm=True, **settings,
    )  # fmt: skip
    from peft import LoraConfig  # noqa: PLC0415

    lora = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    return SFTTrainer(
        model=load_network(base, torch.float32),
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora,
    )


def test_prompts_and_completions_are_masked_as_trl_masks_them(base, tmp_path):
    rows = movie_rows(12)
    rows += [{"text": "ends in a space ", "label": ""}, {"text": "\u4f60\u597d", "label": "x</s>"}]
    split = read_split(write_split(tmp_path / "split", rows))
    ours = examples(load_tokenizer(base("llama")), split, 40)
    pairs = [{"prompt": p, "completion": c} for p, c in split.rows.select("prompt", "completion").iter_rows()]
    theirs = trainer(base("llama"), tmp_path, pairs, max_length=40)
    assert len(theirs.train_dataset) == len(ours)
    for wanted, found in zip(theirs.train_dataset, ours, strict=True):
        assert list(found.ids) == wanted["input_ids"]
        assert list(found.labels) == wanted["labels"]
    batch = theirs.data_collator([theirs.train_dataset[k] for k in range(4)])
    assert batch["labels"][0][batch["labels"][0] != -100].tolist() == list(
        ours[0].ids[ours[0].learned_from :]
    )


def test_conversations_are_masked_as_trl_masks_them(base, tmp_path):
    chats = [
        [
            {"role": "user", "content": f"Is {row['text']} good?"},
            {"role": "assistant", "content": row["label"]},
        ]
        for row in movie_rows(4)
    ]
    chats.append([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes?"}, *chats[0]])
    ours = [encode_answer(load_tokenizer(base("llama")), chat) for chat in chats]
    theirs = trainer(base("llama"), tmp_path, [{"prompt": c[:-1], "completion": c[-1:]} for c in chats])
    for wanted, found in zip(theirs.train_dataset, ours, strict=True):
        assert list(found.ids) == wanted["input_ids"]
        assert list(found.labels) == wanted["labels"]


@pytest.mark.parametrize("family", ["gemma3", "phi3"])
def test_the_first_20_losses_are_trls(base, family, tmp_path):
    """Same batches, same first weights, float32, no dropout: within 1e-3."""
    machine.settle(0)
    rows = read_split(write_split(tmp_path / "split", movie_rows(160)))
    pairs = [{"prompt": p, "completion": c} for p, c in rows.rows.select("prompt", "completion").iter_rows()]
    settings = {
        "learning_rate": 5e-3,
        "lr_scheduler_type": "cosine",
        "max_grad_norm": 1.0,
        "warmup_steps": 2,
        "max_steps": 20,
    }
    theirs = trainer(
        base(family),
        tmp_path,
        pairs,
        per_device_train_batch_size=8,
        train_sampling_strategy="sequential",
        **settings,
    )
    (tmp_path / "init").mkdir()
    recipe = Recipe(r=4, lora_alpha=8, learning_rate=5e-3, warmup_ratio=0.1, dtype="float32")
    from tuneline.train import adapters  # noqa: PLC0415

    adapters.save_adapter(theirs.model, tmp_path / "init")
    theirs.train()
    wanted = [float(entry["loss"]) for entry in theirs.state.log_history if "loss" in entry][:20]

    model = fine_tuning.prepare(base(family), tmp_path / "init", recipe, "tiny")
    ours = losses(model, examples(model.tokenizer, rows, 512), recipe)
    assert len(wanted) == len(ours) == 20
    assert wanted[-1] < wanted[0] / 2
    assert max(abs(a - b) for a, b in zip(wanted, ours, strict=True)) < 1e-3


def losses(model, rows, recipe):
    """Our own steps over rows in their order: the loop's inner part, as its batches are grouped by length."""
    from tuneline.train import training  # noqa: PLC0415

    parameters = {name: value for name, value in model.network.named_parameters() if value.requires_grad}
    optimizer = training._optimizer(parameters, recipe)
    model.network.train()
    return [
        training._step(model, [rows[8 * k : 8 * k + 8]], optimizer, recipe, recipe.rate(k, 20))[0]
        for k in range(20)
    ]


def test_one_batch_has_the_loss_transformers_gives(base, tmp_path):
    rows = read_split(write_split(tmp_path / "split", movie_rows(5)))
    model = fine_tuning.prepare(base("llama"), None, Recipe(dtype="float32"), "tiny")
    found = examples(model.tokenizer, rows, 512)
    loss, count = batch_loss(model, found)
    longest = max(len(row.ids) for row in found)
    ids = torch.tensor([[*row.ids, *[3] * (longest - len(row.ids))] for row in found])
    labels = torch.tensor([[*row.labels, *[-100] * (longest - len(row.ids))] for row in found])
    wanted = model.network(input_ids=ids, labels=labels).loss
    assert (loss / count).item() == pytest.approx(wanted.item(), abs=1e-5)
