"""A pipeline's bytes -> its document, checked as far as an upload is: YAML, JSON, zip, tar.gz.

The document is what KFP's API answers as `pipeline_spec`: the spec alone, or with a second YAML document with
`platforms:` the two as `{"pipeline_spec", "platform_spec"}`. Whether it can run is asked when a run is made.

Limits: 32 MiB packed and unpacked; a text that grows over `MAX_NODES` values by YAML aliases is refused.
"""

import gzip
import io
import json
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import yaml

from tuneline.errors import SpecError, TooLargeError, TunelineError

MAX_BYTES = 32 * 1024 * 1024
MAX_NODES = 3_000_000

# ValueError: a name that is no UTF-8; RuntimeError: a password
_BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError,
    ValueError,
)  # fmt: skip
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_SPEC_KEYS = frozenset(("pipelineInfo", "root", "components", "deploymentSpec", "schemaVersion"))
_V1 = "This is a v1 pipeline (an Argo Workflow); only pipelines of KFP v2 (IR 2.1.0) can run here."


def read_file(name: str, data: bytes) -> dict[str, Any]:
    """The document in an uploaded file. name: it tells YAML from the rest, as with KFP.

    Raises: SpecError, TooLargeError, with what is wrong.
    """
    if len(data) > MAX_BYTES:
        raise TooLargeError(f"File size too large. Maximum supported size: {MAX_BYTES} bytes.")
    if not name.endswith((".yaml", ".yml", ".json")):
        try:
            data = _unpacked(data)
        except _BROKEN as error:
            raise SpecError(
                f"The archive {name!r} cannot be read: {error}.", hint="Upload the YAML."
            ) from error
    return read_text(data)


def read_text(data: bytes) -> dict[str, Any]:
    """The document in YAML or JSON text. Raises: SpecError."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        documents = [each for each in yaml.load_all(data.decode(), Loader=loader) if each is not None]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError(f"unable to decode yaml document: {' '.join(str(error).split())}") from error
    except (RecursionError, ValueError) as error:  # ValueError: a date that is none
        raise SpecError(f"unable to decode yaml document: {_why(error)}") from error
    spec: Mapping[str, Any] | None = None
    platform: Mapping[str, Any] | None = None
    for document in documents:
        _bounded(document)
        if not isinstance(document, Mapping):
            raise SpecError(
                f"no pipeline spec is provided: a document is {type(document).__name__}, no mapping"
            )
        if "platforms" in document and not _SPEC_KEYS & set(document):
            if platform is not None:
                raise SpecError("multiple platform specs provided")
            platform = document
        elif spec is not None:
            raise SpecError("multiple pipeline specs provided")
        else:
            spec = document
    return checked({"pipeline_spec": spec, "platform_spec": platform} if platform else spec or {})


def checked(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document, if it is one of KFP v2. `pipeline_spec` alone is taken out of its wrapping.

    Raises: SpecError.
    """
    _bounded(document)
    spec: Any = document
    if "pipeline_spec" in document:
        unknown = set(document) - {"pipeline_spec", "platform_spec"}
        if unknown:
            raise SpecError(f"invalid pipeline spec: unknown field {sorted(unknown)[0]!r}")
        spec = document["pipeline_spec"]
        if not document.get("platform_spec"):
            document = spec
    _check_spec(spec)
    try:
        same: dict[str, Any] = json.loads(json.dumps(document, allow_nan=False))  # YAML knows other keys
    except (ValueError, TypeError, RecursionError, UnicodeError) as error:
        raise SpecError(f"invalid v2 pipeline spec: {_why(error)}") from error
    return same


def name_of(document: Mapping[str, Any]) -> str:
    """The pipeline's own name."""
    return str(document.get("pipeline_spec", document)["pipelineInfo"]["name"])


def _check_spec(spec: Any) -> None:
    if not isinstance(spec, Mapping) or not spec:
        raise SpecError("no pipeline spec is provided")
    if str(spec.get("apiVersion", "")).startswith("argoproj.io") or spec.get("kind") == "Workflow":
        raise SpecError(_V1, hint="Compile it with the kfp SDK 2.x.")
    version = spec.get("schemaVersion")
    if version != "2.1.0":
        raise SpecError(
            f"KFP only supports schema version 2.1.0, but the pipeline spec has version {version or 'none'}"
        )
    info = spec.get("pipelineInfo")
    name = info.get("name") if isinstance(info, Mapping) else None
    if not name or not isinstance(name, str):
        raise SpecError("invalid v2 pipeline spec: name is empty")
    if not _NAME.search(name):
        raise SpecError(
            "invalid v2 pipeline spec: name should consist of lower case alphanumeric characters, '-' or "
            f"'.', and must start and end with an alphanumeric character; it is {name!r}"
        )
    if not isinstance(spec.get("root"), Mapping) or not spec["root"]:
        raise SpecError("invalid v2 pipeline spec: root component is empty")


def _unpacked(data: bytes) -> bytes:
    """`pipeline.yaml` of an archive, else its only YAML file."""
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            name = _pick([item.filename for item in archive.infolist() if not item.is_dir()], "zip file")
            with archive.open(name) as file:
                return _bounded_read(file)
    if data[:2] == b"\x1f\x8b":
        plain = gzip.GzipFile(fileobj=io.BytesIO(data)).read(2 * MAX_BYTES + 1)
        if len(plain) > 2 * MAX_BYTES:
            raise TooLargeError(f"The tarball holds more than {2 * MAX_BYTES} bytes.")
        with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
            members = {item.name: item for item in archive if item.isfile()}
            picked = archive.extractfile(members[_pick(list(members), "tarball file")])
            return _bounded_read(picked) if picked else b""
    raise SpecError("Unexpected pipeline file format. Support .zip, .tar.gz, .json or YAML.")


def _pick(names: list[str], kind: str) -> str:
    plain = {name.removeprefix("./"): name for name in names}
    if "pipeline.yaml" in plain:
        return plain["pipeline.yaml"]
    found = [name for short, name in plain.items() if short.endswith((".yaml", ".yml"))]
    if len(found) == 1:
        return found[0]
    raise SpecError(
        f"Error extracting pipeline from the {kind}. Expecting a pipeline.yaml file inside the {kind}."
        f" Got: {', '.join(sorted(plain)[:5]) or 'nothing'}"
    )


def _bounded_read(file: Any) -> bytes:
    data: bytes = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise TooLargeError(f"File size too large. Maximum supported size: {MAX_BYTES} bytes, unpacked.")
    return data


def _bounded(document: Any) -> None:
    """Count values as JSON would write them: an alias counts each time it is used."""
    left, todo = MAX_NODES, [document]
    while todo:
        value = todo.pop()
        left -= 1
        if isinstance(value, Mapping):
            todo.extend(value.values())
        elif isinstance(value, list):
            todo.extend(value)
        if left < len(todo):
            raise TooLargeError(f"The pipeline has more than {MAX_NODES} values.")


def _why(error: BaseException) -> str:
    if isinstance(error, TunelineError):
        return error.message
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
