"""Recurring runs through the real `kfp` SDK and its command line."""

import httpx
import pytest

from tuneline.control.recurring import RecurringLoop


@pytest.fixture
def loop(record, platform):
    made = RecurringLoop(record.recurring, platform.recurring).loop
    made.start()
    yield
    made.stop()


def test_it_is_made_listed_disabled_enabled_and_deleted_by_the_sdk(url, sdk):
    sdk("recurring_by_cron", url)


def test_the_sdk_is_told_what_is_wrong(url, sdk):
    sdk("recurring_refused", url)


def test_the_kfp_command_makes_lists_disables_and_shows_one(url, sdk, tmp_path):
    package = sdk("compile_to", "two_steps", str(tmp_path / "two.yaml"))

    def kfp(*arguments):
        return sdk("command_line", url, "recurring-run", *arguments)

    made = kfp(
        "create", "--experiment-name", "by hand", "--job-name", "hourly", "--cron-expression", "0 0 * * * *",
        "--pipeline-package-path", package, "--catchup", "--enabled", "text=hi",
    )  # fmt: skip
    assert "hourly" in made
    assert "ENABLED" in made
    (row,) = httpx.get(f"{url}/apis/v2beta1/recurringruns").json()["recurringRuns"]
    assert row["runtime_config"]["parameters"] == {"text": "hi"}
    id = row["recurring_run_id"]
    assert id in kfp("list")
    kfp("disable", id)
    assert "DISABLED" in kfp("get", id)
    kfp("enable", id)
    assert "ENABLED" in kfp("get", id)
    kfp("delete", id)
    assert id not in kfp("list")


@pytest.mark.slow
def test_its_runs_come_every_second_while_the_client_watches(url, sdk, loop):
    """Real time, 4 s: what no held clock can show is that the loop wakes by itself."""
    sdk("recurring_until_it_ran", url, 2)
