"""Versions of an app: what makes a new one, what is written down, whose name and endpoint they may have."""

import pytest

from tuneline.errors import ConflictError, NotFoundError
from tuneline.plan.apps import App, manifest
from tuneline.record.apps import AppVersion

DEPLOY = {"runtime": "app", "port": 0, "keep_s": 60}


def version(text="a", name="web", **more):
    app = App(name, entry="app.py:app", **more)
    return AppVersion(
        name, f"/apps/{text}", manifest(app, {"app.py": text}), DEPLOY, "run r1 asked", "ann", "r1"
    )


def test_a_new_app_is_wanted_at_its_endpoint_and_stands_in_the_ledger(record):
    wanted = record.apps.put(version(), 10.0)
    assert (wanted.release, wanted.created, wanted.reason) == ("web@1.0.0", True, "first version")
    (desired,) = record.endpoints.desired()
    assert (desired.release, desired.runtime, desired.compared, desired.keep_s) == (
        "web@1.0.0",
        "app",
        False,
        60,
    )
    assert [entry.kind for entry in record.ledger.entries()] == ["app", "desired"]
    facts = record.endpoints.release("web@1.0.0")
    assert (facts.is_app, str(facts.package), facts.manifest["entry"]) == (True, "/apps/a", "app.py:app")


def test_the_same_again_changes_nothing_and_anything_else_is_a_new_version(record):
    record.apps.put(version(), 10.0)
    head = record.ledger.head()
    again = record.apps.put(version(), 11.0)
    assert (again.release, again.created, record.ledger.head()) == ("web@1.0.0", False, head)
    assert record.apps.put(version("b"), 12.0).reason == "since 1.0.0: files changed"
    assert record.apps.put(version("b", env={"X": "1"}), 13.0).release == "web@1.2.0"


def test_one_that_failed_is_tried_again_when_it_is_put_again(record):
    record.apps.put(version(), 10.0)
    record.endpoints.observe("web", {"phase": "failed"}, 11.0)
    assert "started again" in record.apps.put(version(), 12.0).reason
    assert record.endpoints.desired()[0].generation == 2


def test_going_back_to_an_earlier_version_makes_none(record):
    for number, text in enumerate("ab"):
        record.apps.put(version(text), 10.0 + number)
        record.endpoints.went_live(
            "web", f"web@1.{number}.0", live_digest(record), "ready", "ann", 20.0 + number
        )
    back = record.apps.put(version("a"), 30.0)
    assert (back.release, back.created) == ("web@1.0.0", False)
    assert record.endpoints.desired()[0].release == "web@1.0.0"
    assert [row["version"] for row in record.endpoints.history("web")] == ["1.0.0", "1.1.0"]


def live_digest(record):
    live = record.endpoints.live("web")
    return live.digest if live else ""


def test_apps_are_no_models(record, proposal):
    record.apps.put(version(), 10.0)
    record.releases.propose(proposal(), 11.0)
    assert record.releases.models() == ["reviews"]
    assert record.releases.get("web@1.0.0")["state"] == "approved"


def test_a_name_or_an_endpoint_belongs_to_one_kind(record, proposal):
    record.releases.propose(proposal(), 10.0)
    with pytest.raises(ConflictError, match="The name `reviews` is taken"):
        record.apps.put(version(name="reviews"), 11.0)
    record.apps.put(version(), 12.0)
    with pytest.raises(ConflictError, match="The name `web` is taken"):
        record.releases.propose(proposal("b", model="web"), 13.0)
    deploy = {"endpoint": "web", "runtime": "llamacpp", "port": 0, "keep_s": 1}
    before = record.ledger.head()
    with pytest.raises(ConflictError, match=r"Endpoint web has the app web@1\.0\.0"):
        record.releases.propose(proposal("b", deploy=deploy), 14.0)
    assert record.ledger.head() == before


def test_what_was_removed_is_wanted_no_more(record):
    record.apps.put(version(), 10.0)
    record.apps.remove("web", "done", "ann", 11.0)
    assert record.endpoints.desired()[0].release is None
    with pytest.raises(NotFoundError, match="No app runs at endpoint `web`"):
        record.apps.remove("web", "done", "ann", 12.0)
    assert record.apps.put(version(), 13.0).reason.endswith("started again")
