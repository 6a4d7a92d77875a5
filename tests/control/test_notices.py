"""Notices to real services on loopback, each sent by a child as the server sends it; time is an argument."""

import email
import email.policy
import logging
import threading
from concurrent.futures import wait
from pathlib import Path

import pytest
from tests.control.services import Answer, mail_server, slack, webhook

from tuneline.control.notice_sending import Addresses, Sender
from tuneline.control.notices import NoticeLoop
from tuneline.errors import NetworkError, SettingError
from tuneline.plan.delivery import LATEST_S, MAX_ATTEMPTS, Outcome
from tuneline.plan.events import RunEnded, RunStarted
from tuneline.record import notices
from tuneline.record.record import Record
from tuneline.record.runs import NewRun

pytestmark = pytest.mark.slow
SECRET = "zK7qWvPs3cr3tT0ken"
NOW = 1_800_000_000.0
IR = {"root": {"dag": {"tasks": {}}}}


class World:
    """A record, the loop over it, a clock that the test moves."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now, self.env = folder, NOW, {}
        self.url = f"sqlite:///{folder / 'tuneline.db'}"
        self.record = Record(self.url)
        self.record.migrate()
        self.loop = self.start()
        self.put = 0

    def start(self, own: str = "", timeout_s: float = 10.0) -> NoticeLoop:
        addresses = Addresses(self.env, self.folder / "secrets", own)
        self.sender = Sender(addresses, timeout_s)
        self.loop = NoticeLoop(self.record, addresses, self.sender, clock=lambda: self.now)
        return self.loop

    def project(self, *targets: str) -> None:
        """Its newest run has these targets."""
        self.put += 1
        text = "name: reviews\nnotify:\n" + "".join(f"  - {target}\n" for target in targets)
        run = f"r{self.put}"
        self.record.runs.create(NewRun(run, run, "reviews", IR, {}, project_text=text), self.now)
        self.record.runs.append(self.record.runs.lease(run), [RunStarted(), RunEnded("SUCCEEDED")], self.now)

    def tell(self, *releases: str) -> None:
        for release in releases:
            about = {"endpoint": "reviews", "release": f"reviews@{release}", "why": "it is better"}
            with self.record._store.write() as db:
                notices.put(db, self.now, "rolled_out", f"rolled_out/{release}", about)

    def look(self, times: int = 1) -> None:
        """Let the loop look, and wait for what it sends."""
        for _ in range(times):
            self.loop.look_once()
            wait(list(self.loop._busy.values()))

    def deliveries(self) -> list:
        rows = self.record.notices.newest(100)
        return list(self.record.notices.deliveries([row["n"] for row in rows]))

    def states(self) -> list:
        return [(each["target"], each["state"]) for each in self.deliveries()]


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.loop.stop()
    made.record.close()


@pytest.fixture
def hook():
    with webhook() as running:
        yield running


def test_a_notice_is_told_once_in_order_and_never_again(world, hook):
    world.env["HOOK"] = f"{hook.url}/a"
    world.project("${HOOK}")
    world.tell("1.0.0", "1.0.1", "1.0.0")
    world.look(4)
    assert hook.titles() == ["reviews@1.0.0 is live at reviews", "reviews@1.0.1 is live at reviews"]
    assert world.states() == [("${HOOK}", "delivered")] * 2
    world.start()  # the next server
    world.look(2)
    assert len(hook.seen) == 2


def test_a_busy_service_is_asked_again_when_it_said_and_a_broken_one_ever_more_rarely(world, hook):
    world.env["HOOK"] = f"{hook.url}/a"
    hook.answers = [Answer(429, {"Retry-After": "90"}), Answer(500), Answer(503)]
    world.project("${HOOK}")
    world.tell("1.0.0")
    waits = []
    for _ in range(3):
        world.look()
        (head,) = world.deliveries()
        waits.append(head["next_at"] - world.now)
        assert head["state"] == "pending"
        world.look()  # too early: nothing is sent
        world.now = head["next_at"]
    assert waits == [90.0, 10.0, 20.0]
    assert head["error"] == "the service answered 503 Service Unavailable"
    world.look()
    assert (len(hook.seen), world.states()) == (4, [("${HOOK}", "delivered")])


def test_a_service_that_says_no_is_not_asked_again_until_somebody_wants_it(world, hook):
    world.env["HOOK"] = f"{hook.url}/a"
    hook.answers = [Answer(404)]
    world.project("${HOOK}")
    world.tell("1.0.0", "1.0.1")
    world.look(2)
    assert [each["state"] for each in world.deliveries()] == ["failed", "delivered"]
    assert world.deliveries()[0]["error"] == "the service answered 404 Not Found"
    assert world.record.notices.retry(1, world.now) == 1
    world.look()
    assert [each["state"] for each in world.deliveries()] == ["delivered", "delivered"]


class Scripted:
    """A sender that never takes anything: our own Protocol, for what would take hours of a real one."""

    def __init__(self) -> None:
        self.asked = 0

    def ready(self, target) -> str:
        return target

    def send(self, target, message) -> Outcome:
        self.asked += 1
        return Outcome(False, "busy")

    def stop(self) -> None:
        return


def test_a_service_that_stays_away_is_given_up(world):
    world.project("json://127.0.0.1:1/x")
    world.tell("1.0.0")
    world.loop._sender = sender = Scripted()
    for _ in range(MAX_ATTEMPTS + 5):
        world.look()
        world.now = world.deliveries()[0]["next_at"] or world.now
    assert (sender.asked, world.deliveries()[0]["state"]) == (MAX_ATTEMPTS, "failed")
    assert 3600 < world.now - NOW < LATEST_S


def test_one_dead_target_does_not_hold_back_another(world, hook):
    world.env |= {"DEAD": f"{hook.url}/dead", "GOOD": f"{hook.url}/good"}
    hook.answers = [Answer(hangs=True)]
    world.project("${DEAD}")
    world.tell("1.0.0")
    world.loop.look_once()  # the dead one is being asked
    world.project("${DEAD}", "${GOOD}")
    world.tell("1.0.1")
    while not hook.seen:
        threading.Event().wait(0.02)
    world.loop.look_once()
    wait([world.loop._busy["${GOOD}"]])
    assert hook.titles("/good") == ["reviews@1.0.1 is live at reviews"]
    assert not world.loop._busy["${DEAD}"].done()
    hook.ended.set()  # it hangs up
    wait(list(world.loop._busy.values()))
    dead = [each for each in world.deliveries() if each["target"] == "${DEAD}"]
    assert [(each["state"], each["error"]) for each in dead] == [
        ("pending", "no connection"),
        ("pending", ""),
    ]
    assert hook.titles("/dead") == ["reviews@1.0.0 is live at reviews"]


def test_a_service_that_never_answers_is_left_after_its_time(world, hook):
    """2 s of waiting, a process that is ended, and no child left."""
    world.env["DEAD"] = f"{hook.url}/dead"
    world.start(timeout_s=2.0)
    hook.answers = [Answer(hangs=True)]
    world.project("${DEAD}")
    world.tell("1.0.0")
    world.look()
    (only,) = world.deliveries()
    assert only["state"] == "pending"
    assert only["error"] in ("not done within 2 s", "it did not answer in time")
    assert world.sender._children == set()


def test_a_server_that_stops_ends_what_it_sends_and_the_next_one_sends_it(world, hook, monkeypatch):
    monkeypatch.setattr("tuneline.control.notices.GRACE_S", 0.1)
    world.env["HOOK"] = f"{hook.url}/a"
    hook.answers = [Answer(hangs=True)]
    world.project("${HOOK}")
    world.tell("1.0.0")
    world.loop.look_once()
    while not hook.seen:
        threading.Event().wait(0.02)
    world.loop.stop()
    assert world.states() == [("${HOOK}", "pending")]
    world.now += 60
    world.start()
    world.look()
    assert (world.states(), len(hook.seen)) == ([("${HOOK}", "delivered")], 2)


def test_a_target_that_is_not_set_waits_and_says_for_what(world, hook):
    world.project("${HOOK}", "secret:team/hook")
    world.tell("1.0.0")
    world.look()
    assert [(each["missing"], each["attempts"]) for each in world.deliveries()] == [
        ("HOOK is not set in the server's environment", 0),
        ("the file secrets/team/hook of the home is not there", 0),
    ]
    (world.folder / "secrets/team").mkdir(parents=True)
    (world.folder / "secrets/team/hook").write_text(f"{hook.url}/file\n")
    world.env["HOOK"] = f"{hook.url}/env"
    world.now += 60
    world.look()
    assert sorted(path for path, _ in hook.seen) == ["/env", "/file"]


def test_what_nobody_could_be_told_in_days_is_given_up(world):
    world.project("${HOOK}")
    world.tell("1.0.0")
    world.look()
    world.now += LATEST_S + 1
    world.look()
    assert world.deliveries()[0]["state"] == "failed"
    assert "HOOK is not set" in world.deliveries()[0]["error"]


def test_the_server_s_own_targets_are_told_of_everything_and_the_same_place_once(world, hook):
    world.env["HOOK"] = f"{hook.url}/a"
    world.start(own=f"{hook.url}/a {hook.url}/b")
    world.project("${HOOK}", "{to: json://127.0.0.1:1/x, on: [drift]}")
    world.tell("1.0.0")
    world.look()
    assert world.states() == [("${HOOK}", "delivered"), ("TUNELINE_NOTIFY#2", "delivered")]
    assert sorted(path for path, _ in hook.seen) == ["/a", "/b"]


@pytest.mark.parametrize("name", ["TUNELINE_DATABASE_URL", "TUNELINE_TOKEN", "TUNELINE_NOTIFY"])
def test_what_is_the_servers_own_goes_into_no_url(world, hook, name):
    world.env[name] = SECRET
    world.project(f"{hook.url}/${{{name}}}")
    world.tell("1.0.0")
    world.look()
    assert world.deliveries()[0]["missing"] == f"{name} is the server's own and given to nobody"
    assert hook.seen == []


def test_slack_takes_a_notice_and_its_refusals_are_understood(world, tmp_path, monkeypatch):
    """apprise's own Slack URL, over TLS to a server that stands for hooks.slack.com: 1 s."""
    token = f"T1JJ3T3L2/A1BRTD4JD/{SECRET + 'A' * (24 - len(SECRET))}"
    world.env["SLACK_TOKEN"] = token
    with slack(tmp_path) as service:
        for variable, value in service.env.items():
            monkeypatch.setenv(variable, value)
        service.answers = [
            Answer(),
            Answer(429, {"Retry-After": "30"}),
            Answer(410, body=b"channel_is_archived"),
        ]
        world.project("slack://${SLACK_TOKEN}/#builds")
        world.tell("1.0.0", "1.0.1")
        world.look(2)
        world.now += 30
        world.look()
    path, body = service.seen[0]
    (said,) = body["attachments"]
    assert path == f"/services/{token}"
    assert (said["title"], body["channel"]) == ("reviews@1.0.0 is live at reviews", "#builds")
    assert "```\ntuneline history reviews\n```" in said["text"]
    assert [each["state"] for each in world.deliveries()] == ["delivered", "failed"]
    assert world.deliveries()[1]["error"] == "the service answered 410 Gone"


def test_mail_is_taken_put_off_and_refused_as_mail_servers_do(world):
    """A real SMTP server with a login: 2 s."""
    with mail_server(SECRET) as (mail, port):
        world.env["MAIL_PASSWORD"] = SECRET
        place = f"127.0.0.1:{port}?smtp=127.0.0.1&mode=insecure&from=tuneline@example.org&to=team@example.org"
        world.project("mailto://ann:${MAIL_PASSWORD}@" + place)
        world.tell("1.0.0")
        mail.refusals = ["451 Try again later"]
        world.look()
        assert world.deliveries()[0]["error"] == "the mail server answered 451"
        world.now += 5
        world.look()
        assert world.states()[0][1] == "delivered"
        world.env["MAIL_PASSWORD"] = "wrong-password"
        world.tell("1.0.1")
        world.look()
    ((receivers, text),) = mail.taken
    message = email.message_from_string(text, policy=email.policy.default)
    assert (receivers, message["Subject"]) == (["team@example.org"], "reviews@1.0.0 is live at reviews")
    assert "tuneline history reviews" in message.get_body(("html", "plain")).get_content()
    refused = world.deliveries()[1]
    assert (refused["state"], refused["error"]) == (
        "failed",
        "the mail server answered 535 (the login was refused)",
    )


def test_no_secret_is_in_the_record_the_log_or_an_error(world, hook, caplog):
    """Whatever becomes of it: taken, refused, no connection, a URL that is none. 3 s."""
    caplog.set_level(logging.DEBUG)
    (world.folder / "secrets/team").mkdir(parents=True)
    (world.folder / "secrets/team/url").write_text(f"json://ann:{SECRET}@127.0.0.1:{hook.port}/x{SECRET}")
    world.env |= {"TOKEN": SECRET, "GONE": f"json://127.0.0.1:1/{SECRET}", "ODD": f"{SECRET}://{SECRET}"}
    hook.answers = [Answer(500, {"X-Echo": SECRET}, SECRET.encode()), Answer(400, {}, SECRET.encode())]
    world.start(own=f"{hook.url}/own{SECRET}")
    world.project(f"{hook.url}/${{TOKEN}}", "secret:team", "${GONE}", "${ODD}")
    world.tell("1.0.0")
    world.look()
    assert sorted(each["state"] for each in world.deliveries()) == [
        "delivered",
        "failed",
        "failed",
        "pending",
        "pending",
    ]
    said = []
    for target in ("${GONE}", "${ODD}", f"json://127.0.0.1:1/?token={SECRET}", f"slack://{SECRET}"):
        with pytest.raises((NetworkError, SettingError)) as wrong:
            world.sender.test(target)
        said.append(str(wrong.value.to_json()))
    world.record.close()
    stored = b"".join(file.read_bytes() for file in world.folder.glob("tuneline.db*"))
    assert b"${GONE}" in stored
    assert SECRET.encode() not in stored
    assert SECRET not in caplog.text + str(said)


def test_a_test_of_a_target_says_what_is_wrong_with_it(world, hook):
    world.env["HOOK"] = f"{hook.url}/a"
    world.sender.test("${HOOK}")
    assert hook.titles() == ["A test of tuneline's notices"]
    with pytest.raises(SettingError, match=r"\$\{NONE\} cannot be told: NONE is not set"):
        world.sender.test("${NONE}")
    with pytest.raises(SettingError, match="TUNELINE_NOTIFY cannot be told: TUNELINE_NOTIFY is not set"):
        world.sender.test("TUNELINE_NOTIFY")
    hook.answers = [Answer(403)]
    with pytest.raises(NetworkError, match="the service answered 403 Forbidden"):
        world.sender.test("${HOOK}")


def test_without_apprise_a_notice_waits_and_the_command_is_said(world, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    world.project("json://127.0.0.1:1/x")
    world.tell("1.0.0")
    world.look()
    assert world.deliveries()[0]["missing"] == "apprise is not installed: pip install 'tuneline[notify]'"
