"""README.md of a package with own code: how it was made and how it is asked. Pure, without any time."""

import json
from collections.abc import Mapping
from typing import Any


def own_card(manifest: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """The text. about: tuneline.json of the code."""
    params = "".join(f"- `{name}`: {json.dumps(value)}\n" for name, value in manifest["params"].items())
    needs = "".join(f"- `{text}`\n" for text in manifest["requirements"])
    labels = f" It tells apart: {', '.join(manifest['labels'])}." if manifest["labels"] else ""
    body = json.dumps({"dataframe_records": [about["example"]]}, ensure_ascii=False)
    parts = [
        f"# {manifest['model']}",
        f"A model trained on {manifest['train_rows']} rows by code of its project's own.{labels}",
        f"## How it was made\n\n{params}" if params else "",
        f"## What it needs\n\n{needs}" if needs else "",
        "## How it is asked\n\n```\ncurl ENDPOINT/invocations -H 'Content-Type: application/json' "
        f"-d @- <<'EOF'\n{body}\nEOF\n```",
    ]
    return "\n\n".join(part.rstrip() for part in parts if part) + "\n"
