"""The API of notices over a real server; what sends a test is a double of our own Protocol."""

import httpx
import pytest

from tuneline.errors import MissingPartError, NotFoundError, SpecError
from tuneline.record import notices

SECRET = "zK7qWvPs3cr3t"


@pytest.fixture
def told(platform):
    with platform.record._store.write() as db:
        for n, run in enumerate(("r1", "r1", "r2"), 1):
            about = {"run": run, "release": f"m@1.0.{n}", "endpoint": "e"}
            notices.put(db, 1_800_000_000.0 + n, "rolled_out", str(n), about)
    outbox = platform.record.notices
    outbox.address(1, ["${A}", "${B}", "secret:c"], 5.0)
    outbox.delivered(1, "${A}", 1_800_000_009.0)
    outbox.refused(1, "${B}", "the service answered 404 Not Found", None)
    outbox.waits(1, "secret:c", "the file secrets/c/url of the home is not there", 9.0)
    return outbox


def test_notices_are_listed_with_what_became_of_them(client, told):
    third, second, first = client.notices()
    assert [each["id"] for each in (first, second, third)] == [1, 2, 3]
    assert (first["title"], first["at"]) == ("m@1.0.1 is live at e", "2027-01-15T08:00:01.000Z")
    assert [(each["target"], each["state"]) for each in first["deliveries"]] == [
        ("${A}", "delivered"), ("${B}", "failed"), ("secret:c", "waiting"),
    ]  # fmt: skip
    assert first["deliveries"][1]["error"] == "the service answered 404 Not Found"
    assert first["deliveries"][2]["missing"] == "the file secrets/c/url of the home is not there"
    assert [each["id"] for each in client.notices(run="r1", after=1)] == [2]
    assert [each["id"] for each in client.notices(limit=1)] == [3]


def test_what_did_not_arrive_is_tried_again(client, told):
    assert client.retry_notices(1) == {"deliveries": 2}
    assert [each["state"] for each in client.notices()[2]["deliveries"]] == [
        "delivered",
        "pending",
        "pending",
    ]
    with pytest.raises(NotFoundError, match="no notice 77"):
        client.retry_notices(77)


def test_a_test_is_sent_by_the_server(client, platform):
    class Tests:
        asked: list = []

        def test(self, target: str) -> None:
            self.asked.append(target)

    with pytest.raises(MissingPartError):
        client.test_notice("${A}")
    platform.notices._tester = Tests()
    assert client.test_notice("${A}") == {"target": "${A}", "delivered": True}
    assert Tests.asked == ["${A}"]


@pytest.mark.parametrize("path, more", [("runs", {}), ("schedules", {"schedule": {"every_s": 3600}})])
def test_a_project_that_holds_a_secret_is_not_taken(url, client, platform, ir, path, more):
    """Also where a client sends it that did not check: the text would be on record."""
    project = {"name": "m", "text": f"name: m\nnotify: slack://T/B/{SECRET}\n"}
    answer = httpx.post(f"{url}/api/v1/{path}", json={"pipeline_spec": ir, "project": project, **more})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, SpecError.code)
    assert SECRET not in answer.text
    assert (client.runs(), client.schedules()) == ([], [])
