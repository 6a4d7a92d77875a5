"""The whole line by its command line, on a tiny model: server, steps, llama.cpp, router, all real."""

import threading
import time

import openai
import pytest
from tests.e2e.projects import write_project
from tests.e2e.world import ask

pytestmark = pytest.mark.slow

REVIEW = "Review: a great film with a story 99991\nSentiment:"


class Load(threading.Thread):
    """Asks an endpoint without a pause, from another thread, and remembers who answered and what failed."""

    def __init__(self, url: str, model: str) -> None:
        super().__init__()
        self.url, self.model = url, model
        self.releases: list[str] = []
        self.failed: list[str] = []
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                answer = ask(self.url, self.model, REVIEW)
                self.releases.append(answer.headers.get("x-tuneline-release", ""))
                if answer.status_code != 200:
                    self.failed.append(f"{answer.status_code}: {answer.text[:200]}")
            except Exception as error:
                self.failed.append(repr(error))

    def __enter__(self) -> "Load":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.join()


def done(run: dict, state: str) -> set[str]:
    return {task["name"] for task in run["tasks"] if task["state"] == state}


def test_a_project_becomes_a_release_is_replaced_without_a_failed_request_and_refuses_a_worse_one(
    world, tmp_path
):
    project = write_project(tmp_path / "reviews")

    first = world.run(project)
    assert first["state"] == "SUCCEEDED"
    assert first["release"]["release"] == "reviews@1.0.0"
    assert first["release"]["reason"] == "first release"
    assert first["verdict"]["passed"]
    assert first["verdict"]["rules"][1]["reason"].startswith("first release")
    assert first["proof"]["passed"]
    assert first["metrics"]["candidate"]["accuracy"] >= 0.9 > first["metrics"]["base"]["accuracy"]
    client = openai.OpenAI(base_url=f"{first['url']}/v1", api_key="none", max_retries=0)
    assert [model.id for model in client.models.list()] == ["reviews"]
    said = client.completions.create(model="reviews", prompt=REVIEW, max_tokens=4, temperature=0)
    assert said.choices[0].text.strip() == "positive"

    again = world.run(project, expect=6)  # compared with what is live now, which it is itself
    assert again["release"]["release"] == "reviews@1.0.0"
    assert again["release"]["reason"].startswith("identical to reviews@1.0.0")
    assert done(again, "SUCCEEDED") == {"live", "fetch", "evaluate", "gate", "propose"}
    assert done(again, "CACHED") == {"base", "prepare", "tune", "score", "verify", "package"}
    assert again["metrics"]["live"] == again["metrics"]["candidate"]
    nothing_new = world.run(project, expect=6)
    assert done(nothing_new, "SUCCEEDED") == {"live", "fetch", "propose"}
    assert done(nothing_new, "CACHED") == {
        "base",
        "prepare",
        "tune",
        "score",
        "evaluate",
        "gate",
        "verify",
        "package",
    }

    with Load(first["url"], "reviews") as load:
        changed = world.run(project, "-p", "train.r=8")
        time.sleep(0.5)
    assert changed["release"]["release"] == "reviews@1.1.0"
    assert "recipe" in changed["release"]["reason"]
    assert changed["verdict"]["live_release"] == "reviews@1.0.0"
    assert changed["verdict"]["rules"][1]["method"] == "Tango score bound"
    assert changed["url"] == first["url"]
    assert load.failed == []
    assert (load.releases[0], load.releases[-1]) == ("reviews@1.0.0", "reviews@1.1.0")
    assert load.releases == sorted(load.releases), "an answer of the old release after one of the new"

    refused = world.run(project, "-p", "train.learning_rate=1e-9", expect=3)
    assert refused["release"]["state"] == "rejected"
    assert not refused["verdict"]["passed"]
    assert refused["verdict"]["rules"][0]["reason"].startswith("does not hold: accuracy is")
    assert ask(first["url"], "reviews", REVIEW).headers["x-tuneline-release"] == "reviews@1.1.0"
    shown = world.cli("history", "reviews")
    assert shown.returncode == 0
    assert "reviews@1.0.0" in shown.stdout
    assert "reviews@1.1.0" in shown.stdout
    assert world.cli("ledger", "verify").returncode == 0

    assert world.cli("down").returncode == 0
    assert world.processes() == []
