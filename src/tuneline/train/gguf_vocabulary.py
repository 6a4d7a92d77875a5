"""The vocabulary in a GGUF as a fast tokenizer. Used by `conversion`.

Sentencepiece vocabularies only (`tokenizer.ggml.model` is `llama`), as Gemma and Llama 2 have them: the GGUF
holds no merges, so they are made from the pieces. The result gives the ids that transformers' own conversion
gives; that one takes 11 s.
"""

from collections.abc import Sequence
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE

from tuneline.train.gguf_reading import Gguf

_CONTROL, _USER_DEFINED = 3, 4
_SPACE = "\u2581"


def can_convert(gguf: Gguf) -> bool:
    """Whether this module knows the vocabulary's kind."""
    return gguf.metadata.get("tokenizer.ggml.model") == "llama" and gguf.architecture in ("gemma3", "llama")


def vocabulary(gguf: Gguf) -> tuple[Tokenizer, dict[str, Any]]:
    """The tokenizer, and what its tokenizer_config.json says."""
    pieces = list(gguf.metadata["tokenizer.ggml.tokens"])
    gemma = gguf.architecture.startswith("gemma")
    if gemma:  # runs of spaces are stored as spaces; the normalizer writes them with its own sign
        pieces = [_SPACE * len(p) if " " in p and not p.strip() else p for p in pieces]
    merges = (
        _merges_by_place(pieces)
        if gemma
        else _merges_by_score(pieces, gguf.metadata["tokenizer.ggml.scores"])
    )
    vocab = {piece: index for index, piece in enumerate(pieces)}
    names = _special_names(gguf, pieces)
    model = BPE(
        vocab=vocab, merges=merges, fuse_unk=True, unk_token=names.get("unk_token"), byte_fallback=True
    )
    tokenizer = Tokenizer(model)
    _spaces(tokenizer, gemma, bool(gguf.metadata.get("tokenizer.ggml.add_space_prefix", True)))
    _add_tokens(tokenizer, pieces, gguf.metadata.get("tokenizer.ggml.token_type") or [], vocab)
    if gguf.metadata.get("tokenizer.ggml.add_bos_token", True) and "bos_token" in names:
        _start_with(tokenizer, names["bos_token"], vocab[names["bos_token"]])
    config: dict[str, Any] = dict(names)
    config["tokenizer_class"] = "GemmaTokenizer" if gemma else "LlamaTokenizer"
    if template := gguf.metadata.get("tokenizer.chat_template"):
        config["chat_template"] = template
    return tokenizer, config


def _merges_by_place(pieces: Sequence[str]) -> list[tuple[str, str]]:
    """Every way to make a piece of two others, earliest piece first, longest left part first."""
    known = set(pieces)
    found = []
    for piece in pieces:
        for cut in range(len(piece) - 1, 0, -1):
            left = piece[:cut]
            if left in known and piece[cut:] in known:
                found.append((left, piece[cut:]))
    return found


def _merges_by_score(pieces: Sequence[str], scores: Sequence[float]) -> list[tuple[str, str]]:
    """The same, best score first."""
    order = sorted(range(len(pieces)), key=lambda index: -scores[index])
    best = _merges_by_place([pieces[index] for index in order])
    score = dict(zip(pieces, scores, strict=True))
    return sorted(best, key=lambda pair: (score[pair[0] + pair[1]], len(pair[0]), len(pair[1])), reverse=True)


def _special_names(gguf: Gguf, pieces: Sequence[str]) -> dict[str, str]:
    keys = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    found = {}
    for name, key in keys.items():
        index = gguf.metadata.get(f"tokenizer.ggml.{key}_token_id")
        if index is not None and 0 <= index < len(pieces):
            found[name] = pieces[index]
    return found


def _spaces(tokenizer: Tokenizer, gemma: bool, prefix: bool) -> None:
    if gemma:
        tokenizer.normalizer = normalizers.Replace(" ", _SPACE)
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous", invert=False)
        steps = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    else:
        scheme = "first" if prefix else "never"
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(
            replacement=_SPACE, prepend_scheme=scheme, split=False
        )
        steps = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
        if prefix:
            steps.append(decoders.Strip(content=" ", left=1))
    tokenizer.decoder = decoders.Sequence(steps)


def _add_tokens(
    tokenizer: Tokenizer, pieces: Sequence[str], kinds: Sequence[int], vocab: dict[str, int]
) -> None:
    control = [
        AddedToken(p, normalized=False, special=True)
        for p, k in zip(pieces, kinds, strict=False)
        if k == _CONTROL
    ]
    own = [
        p
        for p, k in zip(pieces, kinds, strict=False)
        if k == _USER_DEFINED and p in vocab and not p.startswith(_SPACE)
    ]
    tokenizer.add_special_tokens(control)
    tokenizer.add_tokens([AddedToken(p, normalized=False, special=False) for p in own])


def _start_with(tokenizer: Tokenizer, bos: str, index: int) -> None:
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, index)]
    )
