"""`s3://`, `gs://` and `az://` against real servers on this machine, asked by s3fs, gcsfs and adlfs;
a proxy before them cuts connections and answers 429 and 500."""

import fsspec
import pytest
from tests import buckets
from tests.steps.flaky_proxy import proxied

from tuneline.errors import DataError, SettingError
from tuneline.steps.fetch import fetch
from tuneline.steps.sources import buckets as source

pytestmark = pytest.mark.slow  # real servers, one of them a Node.js process

ROWS = b"text,label\n" + b"".join(f"row {number},{number % 2}\n".encode() for number in range(20_000))
PROTOCOLS = {"s3": "s3", "gs": "gs", "az": "abfs"}


class Store:
    """One kind of store: its scheme, and what goes on before it."""

    def __init__(self, scheme, proxy):
        self.scheme, self.proxy = scheme, proxy

    def uri(self, path):
        return f"{self.scheme}://{buckets.BUCKET}/{path}"

    @property
    def fs(self):
        return fsspec.filesystem(PROTOCOLS[self.scheme], use_listings_cache=False)

    def put(self, path, body):
        self.fs.pipe(f"{buckets.BUCKET}/{path}", body)


@pytest.fixture(scope="module")
def azure_server():
    if buckets.azurite_program() is None:
        pytest.skip("Azurite is not installed: run `make azurite`, or set TUNELINE_TEST_AZURITE")
    with buckets.azure() as url:
        yield url


@pytest.fixture(params=["s3", "gs", "az"])
def store(request, monkeypatch):
    """A store of each kind, empty, where its library finds it."""
    if request.param == "s3":
        _, env = request.getfixturevalue("s3_server")
        upstream = env["AWS_ENDPOINT_URL"]
    elif request.param == "gs":
        env = request.getfixturevalue("gcs_server")
        upstream = env["STORAGE_EMULATOR_HOST"]
    else:
        upstream = request.getfixturevalue("azure_server")
    with proxied(upstream) as proxy:
        if request.param == "s3":
            env = {**env, "AWS_ENDPOINT_URL": proxy.url}
        elif request.param == "gs":
            env = {**env, "STORAGE_EMULATOR_HOST": proxy.url}
        else:
            env = buckets.azure_env(proxy.url)
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        for kind in PROTOCOLS.values():
            fsspec.get_filesystem_class(kind).clear_instance_cache()
        found = Store(request.param, proxy)
        if request.param == "az" and not found.fs.exists(buckets.BUCKET):
            found.fs.mkdir(buckets.BUCKET)
        yield found
        for path in found.fs.find(buckets.BUCKET):
            found.fs.rm(path)
        fsspec.get_filesystem_class(PROTOCOLS[request.param]).clear_instance_cache()


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """So that one file is several reads."""
    monkeypatch.setattr(source, "BLOCK_BYTES", 50_000)


def content(folder):
    return {path.name: path.read_bytes() for path in (folder / "files").iterdir()}


def test_an_object_is_fetched_pinned_and_brought_again_only_if_it_changed(store, desk, tmp_path, notes):
    store.put("data/rows.csv", ROWS)
    found = fetch(store.uri("data/rows.csv"), desk(), tmp_path / "one")
    assert content(tmp_path / "one") == {"rows.csv": ROWS}
    assert list(found.pinned["tags"]) == ["data/rows.csv"]
    assert len(store.proxy.reads) == -(-len(ROWS) // 50_000)
    store.proxy.reads.clear()
    fetch(store.uri("data/rows.csv"), desk(), tmp_path / "two")
    assert not store.proxy.reads
    store.put("data/rows.csv", ROWS + b"more,1\n")
    fetch(store.uri("data/rows.csv"), desk(), tmp_path / "three")
    assert content(tmp_path / "three") == {"rows.csv": ROWS + b"more,1\n"}
    assert any("changed since the last run" in note for note in notes)
    fetch(store.uri("data/rows.csv"), desk(offline=True), tmp_path / "four")
    assert any("Used the copy of" in note and "offline" in note for note in notes)
    assert (tmp_path / "three/source.json").read_bytes() == (tmp_path / "four/source.json").read_bytes()


def test_a_folder_and_a_glob_are_all_their_files_of_rows(store, desk, tmp_path):
    for name in ("a.csv", "b.csv", "c.txt", "deep/d.csv"):
        store.put(f"data/{name}", f"text\n{name}\n".encode())
    fetch(store.uri("data"), desk(), tmp_path / "folder")
    assert sorted(content(tmp_path / "folder")) == ["a.csv", "b.csv"]
    fetch(store.uri("data/a*.csv"), desk(), tmp_path / "glob")
    assert sorted(content(tmp_path / "glob")) == ["a.csv"]


def test_a_download_that_was_broken_off_goes_on_at_its_last_block(store, desk, tmp_path):
    store.put("rows.csv", ROWS)
    store.proxy.faults = ["", "", *["404"] * 40]
    with pytest.raises(DataError):
        fetch(store.uri("rows.csv"), desk(), tmp_path / "data")
    store.proxy.faults, before = [], len(store.proxy.reads)
    fetch(store.uri("rows.csv"), desk(), tmp_path / "data")
    assert content(tmp_path / "data") == {"rows.csv": ROWS}
    assert store.proxy.reads[before].startswith("bytes=100000-")


def test_cuts_429_and_500_are_got_over(store, desk, tmp_path):
    """The libraries try again themselves; Azure's waits 15 s after an answer, so here it is cut alone."""
    store.put("rows.csv", ROWS)
    store.proxy.faults = ["cut:1000", *(["", "500", "429:1"] if store.scheme != "az" else [])]
    fetch(store.uri("rows.csv"), desk(), tmp_path / "data")
    assert content(tmp_path / "data") == {"rows.csv": ROWS}


def test_an_object_overwritten_while_it_is_read_is_begun_again(store, desk, tmp_path, notes, monkeypatch):
    store.put("rows.csv", ROWS)
    other, real = ROWS.replace(b"row", b"new"), source.objects.read

    def read(uri, start, end):
        if start == 50_000 and other is not None and not notes:
            store.put("rows.csv", other)
        return real(uri, start, end)

    monkeypatch.setattr(source.objects, "read", read)
    fetch(store.uri("rows.csv"), desk(), tmp_path / "data")
    assert content(tmp_path / "data") == {"rows.csv": other}
    assert any("changed while it was being downloaded" in note for note in notes)


def test_what_is_not_there_is_said_with_what_is(store, desk, tmp_path):
    store.put("data/rows.csv", ROWS)
    with pytest.raises(DataError, match="There is no file `data/row.csv`") as caught:
        fetch(store.uri("data/row.csv"), desk(), tmp_path / "data")
    assert "data/rows.csv" in caught.value.hint


def test_who_may_not_read_is_told_how_to_log_in(s3_server, desk, tmp_path, monkeypatch):
    _, env = s3_server
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(SettingError, match="refuses it") as caught:
        fetch("s3://lines/rows.csv", desk(), tmp_path / "data")
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint
    fsspec.get_filesystem_class("s3").clear_instance_cache()
