"""Reads a Containerfile: its instructions, and what is wrong with it beyond what hadolint looks for."""

import re
from dataclasses import dataclass
from pathlib import Path

_SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|API_?KEY|CREDENTIAL", re.IGNORECASE)
_DIGEST = re.compile(r"@(sha256:[0-9a-f]{64}|\$\{\w+_DIGEST\})$")


@dataclass(frozen=True)
class Instruction:
    """`FROM base AS name`: word `FROM`, and the rest."""

    word: str
    rest: str


def instructions(text: str) -> list[Instruction]:
    """The instructions of a Containerfile; continued lines are joined, comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    parts = (line.strip().partition(" ") for line in joined.splitlines() if line.strip())
    return [Instruction(word.upper(), rest.strip()) for word, _, rest in parts]


def faults(text: str) -> list[str]:
    """What no image of ours may have. Empty if it has none of it."""
    found = instructions(text)
    last = [each.word for each in found[_last(found, "FROM") :]]
    wrong = [fault for each in found for fault in _of_one(each)]
    users = [each.rest for each in found if each.word == "USER"]
    if not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]):
        wrong.append("its last USER is no number, or root")
    wrong += [
        f"its last stage has no {word}" for word in ("LABEL", "HEALTHCHECK", "USER") if word not in last
    ]
    labels = " ".join(each.rest for each in found if each.word == "LABEL")
    for name in ("title", "description", "licenses"):
        if f"org.opencontainers.image.{name}=" not in labels:
            wrong.append(f"no label org.opencontainers.image.{name}")
    return wrong + _bases(found)


def _of_one(each: Instruction) -> list[str]:
    wrong = []
    if each.word == "ADD":
        wrong.append(f"ADD {each.rest}: COPY does all that is wanted, and fetches nothing")
    if ":latest" in each.rest:
        wrong.append(f"{each.word} {each.rest}: latest is another image tomorrow")
    if each.word in ("ARG", "ENV") and _SECRET.search(re.sub(r"=\S*", "", each.rest)):
        wrong.append(f"{each.word} {each.rest}: what is secret stays readable in an image's history")
    if each.word == "RUN" and re.search(r"\b(curl|wget)\b", each.rest):
        wrong.append(f"RUN {each.rest}: downloads without a digest")
    return wrong


def _bases(found: list[Instruction]) -> list[str]:
    """Every base is an argument without a default, a digest, or a stage of the same file."""
    arguments = {each.rest for each in found[: _first(found, "FROM")] if each.word == "ARG"}
    stages: set[str] = set()
    wrong = []
    for each in found:
        if each.word != "FROM":
            continue
        base, _, stage = each.rest.partition(" AS ")
        argument = base.removeprefix("${").removesuffix("}")
        given = base.startswith("${") and argument in arguments
        digest = _DIGEST.search(base)
        if digest and digest[1].startswith("$"):
            digest = digest if digest[1][2:-1] in arguments else None
        if not (given or digest or base in stages):
            wrong.append(f"FROM {base}: neither a digest nor an argument that must be given")
        stages.add(stage)
    return wrong


def _first(found: list[Instruction], word: str) -> int:
    return next(place for place, each in enumerate(found) if each.word == word)


def _last(found: list[Instruction], word: str) -> int:
    return max(place for place, each in enumerate(found) if each.word == word)


def read(path: Path) -> list[str]:
    """`faults` of a file."""
    return faults(path.read_text(encoding="utf-8"))
