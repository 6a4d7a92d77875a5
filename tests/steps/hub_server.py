"""What of the Hugging Face hub's protocol a download needs, on this machine: repositories, commits, LFS by
redirect, tokens, gates. Asked by the real `huggingface_hub`."""

import hashlib
import json
from dataclasses import dataclass, field

from tests.steps.download_server import FileServer, Served


@dataclass
class HubServer:
    """Repositories of a hub that `FileServer` serves."""

    files: FileServer
    token: str = ""
    """What every request to the API and to files must bear; none if empty."""
    trees: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def commit(self, repository: str, tree: dict[str, bytes], *, lfs: bool = True) -> str:
        """Make `tree` the newest commit of `datasets/OWNER/NAME` or `OWNER/NAME`. Returns its id."""
        kind = "datasets" if repository.startswith("datasets/") else "models"
        name = repository.removeprefix("datasets/")
        commit = hashlib.sha1(json.dumps({k: v.hex() for k, v in tree.items()}).encode()).hexdigest()
        listed = [self._listed(path, body, lfs) for path, body in tree.items()]
        info = {"id": name, "sha": commit, "siblings": listed, "tags": [], "downloads": 0}
        for revision in ("", "/revision/main", f"/revision/{commit}"):
            self._put(f"/api/{kind}/{name}{revision}?blobs=true", json.dumps(info).encode(), {})
        for path, body in tree.items():
            place = f"/{repository}/resolve/{commit}/{path}"
            digest = hashlib.sha256(body).hexdigest()
            if lfs:
                self.files.put(f"/cdn/{digest}", body)
                self._put(place, b"", {"Location": f"{self.files.url}/cdn/{digest}"}, status=302)
            else:
                self._put(place, body, {}, etag=f'"{digest}"')
        return commit

    def refuse(self, repository: str, status: int, code: str, message: str) -> None:
        """Answer the API for a repository with an error, as the hub words it."""
        kind = "datasets" if repository.startswith("datasets/") else "models"
        name = repository.removeprefix("datasets/")
        headers = {"X-Error-Code": code, "X-Error-Message": message}
        self._put(f"/api/{kind}/{name}?blobs=true", b"{}", headers, status=status)

    def api(self, repository: str) -> Served:
        """The answer to who asks about the main branch of a repository."""
        kind = "datasets" if repository.startswith("datasets/") else "models"
        return self.files.files[f"/api/{kind}/{repository.removeprefix('datasets/')}?blobs=true"]

    def cdn(self, body: bytes) -> Served:
        """The LFS object of a content."""
        return self.files.files[f"/cdn/{hashlib.sha256(body).hexdigest()}"]

    def _put(
        self, path: str, body: bytes, headers: dict[str, str], status: int = 200, etag: str = ""
    ) -> None:
        kind = "application/json" if path.startswith("/api") else "text/plain"
        needs = f"Bearer {self.token}" if self.token else ""
        self.files.put(path, body, headers=headers, status=status, kind=kind, etag=etag, authorization=needs)

    @staticmethod
    def _listed(path: str, body: bytes, lfs: bool) -> dict[str, object]:
        listed: dict[str, object] = {
            "rfilename": path, "size": len(body), "blobId": hashlib.sha1(body).hexdigest(),
        }  # fmt: skip
        if lfs:
            digest = hashlib.sha256(body).hexdigest()
            listed["lfs"] = {"sha256": digest, "size": len(body), "pointerSize": 130}
        return listed
