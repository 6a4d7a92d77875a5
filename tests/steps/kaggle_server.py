"""What of Kaggle's protocol a download of a dataset needs, on this machine. Asked by the real `kagglehub`."""

import base64
import hashlib
import io
import json
import zipfile
from dataclasses import dataclass, field
from typing import Any

from tests.steps.download_server import FileServer, Served

SERVICE = "/v1/datasets.DatasetApiService"


@dataclass
class KaggleServer:
    """Datasets with their versions; the bytes lie at signed addresses, as in Google's store."""

    files: FileServer
    authorization: str = ""
    """What every call must bear; none if empty."""
    versions: dict[str, list[dict[str, bytes]]] = field(default_factory=dict)
    zipped: bool = False
    faults: list[str] = field(default_factory=list)
    """What goes wrong with the next calls of the API."""

    def publish(self, handle: str, tree: dict[str, bytes]) -> int:
        """Make `tree` the newest version of a dataset. Returns its number."""
        self.versions.setdefault(handle, []).append(tree)
        for name in ("GetDataset", "ListDatasetFiles", "DownloadDataset"):
            self.files.calls[f"{SERVICE}/{name}"] = getattr(self, f"_{name}")
        return len(self.versions[handle])

    def stored(self, body: bytes) -> Served:
        """The object that holds a content, once it was led to."""
        return self.files.files[self._signed(body, "")]

    def _GetDataset(self, asked: dict[str, Any]) -> Served:
        return self._json({"ref": self._handle(asked), "currentVersionNumber": len(self._of(asked))}, asked)

    def _ListDatasetFiles(self, asked: dict[str, Any]) -> Served:
        names = sorted(self._of(asked)[asked["datasetVersionNumber"] - 1])
        start = int(asked.get("pageToken") or 0)
        tree = self._of(asked)[asked["datasetVersionNumber"] - 1]
        listed = [{"name": name, "totalBytes": len(tree[name])} for name in names[start : start + 2]]
        more = str(start + 2) if start + 2 < len(names) else ""
        return self._json({"datasetFiles": listed, "nextPageToken": more}, asked)

    def _DownloadDataset(self, asked: dict[str, Any]) -> Served:
        body = self._of(asked)[asked["datasetVersionNumber"] - 1][asked["fileName"]]
        name = asked["fileName"] + (".zip" if self.zipped else "")
        place = self._signed(body, name)
        if place not in self.files.files:
            kept = _zip(asked["fileName"], body) if self.zipped else body
            md5 = base64.b64encode(hashlib.md5(kept).digest()).decode()
            self.files.put(place, kept, headers={"x-goog-hash": f"crc32c=AAAAAA==,md5={md5}"})
        found = self._json({}, asked)
        if found.status == 200 and not found.faults:
            found.status, found.headers = 302, {"Location": self.files.url + place}
        return found

    def _signed(self, body: bytes, name: str) -> str:
        wanted = hashlib.sha1(body).hexdigest()
        known = [path for path in self.files.files if path.startswith(f"/store/{wanted}/")]
        return known[0] if known else f"/store/{wanted}/{name}?X-Goog-Signature=s3cret"

    def _json(self, body: dict[str, Any], asked: dict[str, Any]) -> Served:
        faults = [self.faults.pop(0)] if self.faults else []
        known = self._handle(asked) in self.versions
        return Served(
            json.dumps(body).encode(), kind="application/json", faults=faults, status=200 if known else 404,
            authorization=self.authorization,
        )  # fmt: skip

    def _of(self, asked: dict[str, Any]) -> list[dict[str, bytes]]:
        return self.versions.get(self._handle(asked), [])

    @staticmethod
    def _handle(asked: dict[str, Any]) -> str:
        return f"{asked['ownerSlug']}/{asked['datasetSlug']}"


def _zip(name: str, body: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, body)
    return made.getvalue()
