"""Digests of files and folders."""

import hashlib
from pathlib import Path

import pytest

from tuneline.errors import DataError
from tuneline.execute.files import digest_path, files_below, size_of
from tuneline.types import digest_json


def test_a_file_has_the_digest_of_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"x" * 3_000_000)
    assert digest_path(file) == ("sha256:" + hashlib.sha256(b"x" * 3_000_000).hexdigest(), 3_000_000)


def test_a_folder_has_the_digest_of_its_sorted_files_whatever_order_they_were_made_in(tmp_path: Path) -> None:
    for base, names in ((tmp_path / "one", ["b/c", "a", "b-a"]), (tmp_path / "two", ["b-a", "a", "b/c"])):
        for name in names:
            (base / name).parent.mkdir(parents=True, exist_ok=True)
            (base / name).write_text(name)
    digests = [["a", _sha("a")], ["b-a", _sha("b-a")], ["b/c", _sha("b/c")]]
    assert digest_path(tmp_path / "one") == digest_path(tmp_path / "two") == (digest_json(digests), 7)
    assert size_of(tmp_path / "one") == 7


def test_an_empty_folder_has_the_digest_of_an_empty_list(tmp_path: Path) -> None:
    assert digest_path(tmp_path) == (digest_json([]), 0)


def test_what_is_not_there_has_no_digest(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    assert size_of(tmp_path / "none") is None
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(DataError, match="is not there"):
            digest_path(path)


def _sha(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def test_links_that_lead_back_end(tmp_path: Path) -> None:
    for name in ("a", "b/c"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "a" / "other").symlink_to("../b")
    (tmp_path / "b" / "back").symlink_to("../a")
    for number in range(3):
        (tmp_path / f"self{number}").symlink_to(".")
        (tmp_path / "b" / "c" / f"up{number}").symlink_to(tmp_path.parent)
    assert files_below(tmp_path) == ["a/file", "a/other/c/file", "b/back/file", "b/c/file"]
