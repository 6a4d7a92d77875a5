"""Files, folders and checkpoints between a disk and a real S3 server, checked by receipts."""

import os
import shutil

import pytest

from tuneline.errors import DataError, NotFoundError, SettingError
from tuneline.execute import carrying, objects
from tuneline.execute.checkpoint_copies import Copies
from tuneline.execute.digests import digest_path
from tuneline.types import digest_json


@pytest.fixture
def uri(s3, tmp_path):
    s3.seen.clear()
    return f"s3://lines/{tmp_path.name}/model"


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "weights").write_bytes(os.urandom(100_000))
    (folder / "sub" / "config.json").write_text("{}")
    return folder


@pytest.mark.parametrize("kind", ["folder", "file", "empty folder", "nothing"])
def test_what_is_put_is_what_is_got(uri, model, tmp_path, kind):
    (tmp_path / "empty").mkdir()
    names = {"folder": "model", "file": "model/weights", "empty folder": "empty", "nothing": "none"}
    path = tmp_path / names[kind]
    receipt = carrying.put(path, uri)
    assert receipt.digest == (digest_json(None) if kind == "nothing" else digest_path(path)[0])
    there = tmp_path / "there"
    carrying.get(uri, there)
    assert there.exists() == path.exists()
    if path.exists():
        assert digest_path(there) == digest_path(path)


def test_put_again_puts_what_changed_and_leaves_nothing_old(uri, model, tmp_path, s3):
    carrying.put(model, uri)
    s3.seen.clear()
    carrying.put(model, uri)
    assert not [line for line in s3.seen if line.startswith(("PUT", "POST", "DELETE"))]
    shutil.rmtree(model / "sub")
    carrying.put(model, uri)
    assert [each.relative for each in objects.find(uri)] == ["weights"]


def test_a_carrier_that_was_killed_goes_on_with_what_is_missing(uri, model, tmp_path, s3):
    carrying.put(model, uri)
    there = tmp_path / "there"
    carrying.get(uri, there)
    (there / "sub" / "config.json").write_text("{torn")
    s3.seen.clear()
    carrying.get(uri, there)
    assert digest_path(there) == digest_path(model)
    assert not [line for line in s3.seen if line.startswith("GET") and "weights" in line]


def test_what_was_changed_in_the_bucket_is_refused(uri, model, tmp_path):
    carrying.put(model, uri)
    objects.upload([(model / "weights", "sub/config.json")], uri)
    with pytest.raises(DataError, match="sub/config.json has another digest"):
        carrying.get(uri, tmp_path / "there")
    objects.remove(["weights"], uri)
    with pytest.raises(NotFoundError, match="weights is not there, which was put there"):
        carrying.get(uri, tmp_path / "there again")


def test_what_others_put_there_is_taken_and_nothing_is_an_error(uri, model, tmp_path):
    objects.upload([(model / "weights", "weights")], uri)
    carrying.get(uri, tmp_path / "there")
    assert (tmp_path / "there" / "weights").read_bytes() == (model / "weights").read_bytes()
    with pytest.raises(NotFoundError, match="nor a receipt"):
        carrying.get(f"{uri}-none", tmp_path / "none")


def test_a_copy_without_its_receipt_was_never_whole(uri, model):
    """The receipt goes before the objects it speaks of change, and comes back when they are whole."""
    carrying.put(model, uri)
    (model / "weights").write_bytes(b"new")
    (model / "gone").symlink_to("nowhere")
    with pytest.raises((DataError, NotFoundError)):
        carrying.put(model, uri)
    (model / "gone").unlink()
    done = []

    def noted(word, work):
        def noting(what, at):
            done.append((word, at.removeprefix(uri)))
            work(what, at)

        return noting

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objects, "upload", noted("put", objects.upload))
        patch.setattr(objects, "remove", noted("remove", objects.remove))
        carrying.put(model, uri)
    assert done[0] == ("remove", carrying.SUFFIX)
    assert done[-1] == ("put", carrying.SUFFIX)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_of_another_user_is_one_clear_error(model):
    (model / "weights").chmod(0)
    with pytest.raises(SettingError, match="run_as_user"):
        carrying.receipt_of(model)


# Checkpoints


def checkpoint(folder, name, text="state"):
    (folder / name).mkdir(parents=True)
    (folder / name / "state.pt").write_text(text)


@pytest.fixture
def copies(uri, tmp_path):
    return Copies(uri, tmp_path / "checkpoints", "1-0")


@pytest.fixture
def elsewhere(uri, tmp_path):
    (tmp_path / "other").mkdir()
    return Copies(uri, tmp_path / "other", "1-1")


def test_the_newest_checkpoint_is_copied_once_and_two_are_kept(copies, elsewhere):
    for step in ("000000002", "000000004", "000000006"):
        checkpoint(copies.folder, step, step)
        assert copies.save() == step
        assert copies.save() is None
    kept = {each.relative.partition("/")[0] for each in objects.find(copies.uri)}
    assert kept == {
        "000000004@1-0", "000000004@1-0.tuneline.json", "000000006@1-0", "000000006@1-0.tuneline.json",
    }  # fmt: skip
    assert elsewhere.restore() == "000000006"
    assert (elsewhere.folder / "000000006" / "state.pt").read_text() == "000000006"
    assert elsewhere.save() is None


def test_one_that_is_not_whole_in_the_bucket_is_passed_over(copies, elsewhere):
    for step in ("10", "20"):
        checkpoint(copies.folder, step)
        copies.save()
    objects.upload(
        [(copies.folder / "10" / "state.pt", "30@1-0/state.pt")], copies.uri
    )  # killed while it copied
    objects.remove(["20@1-0/state.pt"], copies.uri)
    assert elsewhere.restore() == "10"
    assert sorted(path.name for path in elsewhere.folder.iterdir()) == ["10"]


def test_no_checkpoint_is_none(copies, elsewhere):
    assert copies.save() is None
    assert elsewhere.restore() is None


def test_a_checkpoint_of_others_is_taken_when_it_has_stopped_changing(copies):
    checkpoint(copies.folder, "checkpoint-50", "half")
    assert copies.save() is None
    (copies.folder / "checkpoint-50" / "state.pt").write_text("whole now")
    assert copies.save() is None
    assert copies.save() == "checkpoint-50"
    checkpoint(copies.folder, "checkpoint-100")
    assert copies.save(last=True) == "checkpoint-100"
    checkpoint(copies.folder, "000000200.part")
    assert copies.save(last=True) is None


def test_what_a_pod_thought_lost_still_writes_spoils_nothing(copies, elsewhere, uri, tmp_path):
    checkpoint(copies.folder, "10", "of the first")
    copies.save()
    assert elsewhere.restore() == "10"
    checkpoint(elsewhere.folder, "20", "of the second")
    assert elsewhere.save() == "20"
    checkpoint(copies.folder, "20", "of the first, late")
    assert copies.save() == "20"
    third = Copies(uri, tmp_path / "third", "1-2")
    third.folder.mkdir()
    assert third.restore() == "20"
    assert (third.folder / "20" / "state.pt").read_text() == "of the second"
