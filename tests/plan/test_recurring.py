"""A recurring run's JSON, and what a look at it finds."""

import pytest

from tuneline.errors import SpecError
from tuneline.plan.recurring import Look, Standing, line_of, look, trigger_of, zone_of
from tuneline.spec.cron import Every, parse_cron


def standing(**changes):
    values = {"id": "s", "trigger": {"every_s": 60}, "mark": 1000, "origin": 1000, "catch_up": True,
              "max_concurrency": 1, "active": 0}  # fmt: skip
    return Standing(**{**values, **changes})


@pytest.mark.parametrize(
    "changes, now, expected",
    [
        ({}, 1059.0, Look(at=1060)),
        ({}, 1060.0, Look(tick=1060)),
        ({}, 1200.0, Look(tick=1060)),
        ({"catch_up": False}, 1200.0, Look(tick=1180)),
        ({"active": 1}, 1200.0, Look()),
        ({"active": 1, "max_concurrency": 2}, 1200.0, Look(tick=1060)),
        ({"trigger": {"every_s": 60, "end": 1100.5}, "mark": 1060}, 1200.0, Look()),
        ({"trigger": {"cron": "0 0 0 30 2 *"}}, 1200.0, Look()),
    ],
)
def test_a_look_finds_a_tick_to_run_or_when_to_look_again(changes, now, expected):
    assert look(standing(**changes), now) == expected


def test_a_trigger_is_read_from_its_json():
    found = trigger_of(
        {"cron": "0 6 * * *", "crontab": True, "zone": "Europe/Berlin", "start": 9.7, "end": 99.2}
    )
    assert found.timing == parse_cron("0 0 6 * * *")
    assert (found.zone, found.start, found.end, zone_of(found)) == ("Europe/Berlin", 9, 99, "Europe/Berlin")
    assert trigger_of({"every_s": 7}).timing == Every(7)
    assert zone_of(trigger_of({"cron": "TZ=Asia/Tokyo @daily"})) == "Asia/Tokyo"
    assert trigger_of({"cron": "5 * * * *"}).timing == parse_cron("5 * * * * *")
    for wrong in ({"cron": "x"}, {}, {"every_s": 7, "zone": "Mars"}):
        with pytest.raises(SpecError):
            trigger_of(wrong)


@pytest.mark.parametrize(
    "body, expected",
    [
        (
            {"cron": "0 6 * * *", "crontab": True, "zone": "Europe/Berlin"},
            "CRON_TZ=Europe/Berlin 0 0 6 * * *",
        ),
        ({"cron": "@daily", "crontab": True, "zone": "Europe/Berlin"}, "CRON_TZ=Europe/Berlin @daily"),
        ({"cron": "0 6 * * *", "crontab": True, "zone": "UTC"}, "0 0 6 * * *"),
        ({"cron": "TZ=Asia/Tokyo @daily", "crontab": True, "zone": "UTC"}, "TZ=Asia/Tokyo @daily"),
        ({"cron": "5 * * * *"}, "5 * * * *"),
    ],
)
def test_a_crontab_s_line_is_told_to_kubeflow_s_clients_in_their_dialect(body, expected):
    assert line_of(body) == expected
    assert trigger_of({"cron": expected}).timing.hours == trigger_of(body).timing.hours
