"""What hubs and buckets have in common: which files an address means, and what it must not hold."""

import sys

import pytest

from tuneline.errors import DataError, MissingPartError
from tuneline.steps import remote
from tuneline.steps.fetch import fetch
from tuneline.steps.patience import retry_after_s
from tuneline.steps.sources import hub, kaggle

NAMES = ("README.md", "data/a.csv", "data/b.parquet", "data/deep/a.csv", "rows.csv")


@pytest.mark.parametrize(
    "path, found",
    [
        ("rows.csv", ["rows.csv"]),
        ("README.md", ["README.md"]),
        ("", ["rows.csv"]),
        ("data/", ["data/a.csv", "data/b.parquet"]),
        ("data/*.csv", ["data/a.csv"]),
        ("**/b.*", ["data/b.parquet"]),
    ],
)
def test_a_path_is_a_file_a_folder_or_a_glob(path, found):
    assert remote.choose(NAMES, path, "it") == found


def test_what_is_not_there_names_the_nearest_and_equal_names_are_refused():
    with pytest.raises(DataError, match="There is no file `data/a.csw` in it") as caught:
        remote.choose(NAMES, "data/a.csw", "it")
    assert "data/a.csv" in caught.value.hint
    with pytest.raises(DataError, match="Two files in it have one name: a.csv"):
        remote.choose(NAMES, "**/a.csv", "it")


@pytest.mark.parametrize(
    "address",
    [
        "s3://key:s3cret@bucket/rows.csv",
        "hf://s3cret@datasets/ann/reviews",
        "kaggle://ann:s3cret@ann/reviews/a.csv",
        "az://rows/a.csv?sv=2024&sig=s3cret",
        "abfs://user:s3cret@account.dfs.core.windows.net/a.csv",
    ],
)
def test_a_secret_in_an_address_is_refused_and_not_repeated(address):
    with pytest.raises(DataError, match="is given with a user, token or query") as caught:
        remote.refuse_secrets(address)
    assert "s3cret" not in str(caught.value.to_json())
    remote.refuse_secrets("abfs://rows@account.dfs.core.windows.net/a.csv")


def test_the_parts_of_a_hubs_address():
    found = hub.parse("hf://datasets/ann/reviews@refs%2Fconvert%2Fparquet/data/*.parquet")
    assert (found.kind, found.id, found.path) == ("dataset", "ann/reviews", "data/*.parquet")
    assert found.revision == "refs/convert/parquet"
    assert hub.parse("hf://google/gemma-3-1b-it").id == "google/gemma-3-1b-it"
    for address in ("hf://reviews", "hf://spaces/ann/app/a.csv"):
        with pytest.raises(DataError, match="not of the shape"):
            hub.parse(address)


def test_the_parts_of_kaggles_address():
    found = kaggle.parse("kaggle://ann/reviews/versions/3/data/rows.csv")
    assert (found.handle, found.version, found.path) == ("ann/reviews", 3, "data/rows.csv")
    assert kaggle.parse("kaggle://datasets/ann/reviews").version == 0
    with pytest.raises(DataError, match="not of the shape"):
        kaggle.parse("kaggle://reviews")


def test_a_server_says_how_long_to_wait_in_seconds_or_by_a_date():
    assert retry_after_s({"retry-after": "7"}) == 7.0
    dates = {"retry-after": "Thu, 01 Jan 2026 00:00:09 GMT", "date": "Thu, 01 Jan 2026 00:00:00 GMT"}
    assert retry_after_s(dates) == 9.0
    assert retry_after_s({"retry-after": "soon"}) is None


@pytest.mark.parametrize(
    "module, address, extra",
    [
        ("kagglehub.clients", "kaggle://ann/reviews/a.csv", "tuneline[kaggle]"),
        ("huggingface_hub", "hf://datasets/ann/reviews/a.csv", "tuneline[hub]"),
    ],
)
def test_a_library_that_is_not_there_is_named_with_how_to_install_it(
    desk, tmp_path, monkeypatch, module, address, extra
):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPartError, match="is not installed") as caught:
        fetch(address, desk(), tmp_path / "data")
    assert extra in caught.value.hint
