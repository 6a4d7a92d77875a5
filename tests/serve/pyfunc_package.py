"""A release's package with own code, as far as the runtime `pyfunc` reads it."""

import json
from pathlib import Path

from tuneline.serve import package
from tuneline.serve.pyfunc import ABOUT

SERVE = """
import json, math, os, time
class Model:
    def __init__(self, folder):
        self.by = json.load(open(os.path.join(folder, "model.json")))["by"]
        print("loaded", flush=True)
    def predict(self, rows, params=None):
        print("asked")
        if rows == "die":
            os._exit(3)
        if rows == "nan":
            return [math.nan, math.inf, 1.5]
        by = (params or {}).get("by", self.by)
        return [{"label": row["x"] * by} for row in rows]
def load(model_dir):
    return Model(model_dir)
"""


NEEDS = ("httpx>=0.1", "pytest")


def pyfunc_package(folder: Path, serve: str = SERVE, needs: tuple[str, ...] = NEEDS) -> Path:
    """A release's package, as far as this runtime reads it."""
    code = folder / "served" / "code"
    code.mkdir(parents=True)
    (code / "serve.py").write_text(serve)
    about = {"entry": "serve.py:load", "entries": ["serve.py:load"], "requirements": list(needs)}
    (code / ABOUT).write_text(json.dumps({**about, "image": "python:3.11", "example": {"x": 2}}))
    (folder / "model").mkdir()
    (folder / "model" / "model.json").write_text('{"by": 10}')
    (folder / "rows.txt").write_text("")
    (folder / "README.md").write_text("")
    listed = {path: package.file_digest(folder / path) for path in package.content_files(folder)}
    digests = {
        "adapter_digest": "sha256:a",
        "served_digest": "sha256:s",
        "template_hash": "",
        "tokenizer_hash": "",
    }
    manifest = {"schema": 1, "model": "flows", "base": {}, "files": listed, **digests}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
