"""Cron lines as robfig/cron and a crontab read them."""

import pytest

from tuneline.errors import SpecError
from tuneline.spec.cron import Cron, Every, parse_cron

ALL = {
    "seconds": tuple(range(60)), "minutes": tuple(range(60)), "hours": tuple(range(24)),
    "days": tuple(range(1, 32)), "months": tuple(range(1, 13)), "weekdays": tuple(range(7)),
}  # fmt: skip


def cron(either=False, zone="", **fields):
    return Cron(**{**ALL, **fields}, either=either, zone=zone)


NINE = {"seconds": (0,), "minutes": (0,), "hours": (9,)}
MIDNIGHT = {**NINE, "hours": (0,)}


@pytest.mark.parametrize(
    "text, expected",
    [
        ("0 0 9 ? * 2-6", cron(**NINE, weekdays=(2, 3, 4, 5, 6))),
        ("0 0 9 ? * MON-FRI", cron(**NINE, weekdays=(1, 2, 3, 4, 5))),
        ("0 0 9 ? * mon,Wed", cron(**NINE, weekdays=(1, 3))),
        ("0 0 9 * * 0", cron(**NINE, weekdays=(0,))),
        ("0 0 9 * * 7", cron(**NINE, weekdays=(0,))),
        ("0 0 9 * * 5-7", cron(**NINE, weekdays=(0, 5, 6))),
        ("0 0 9 1,15 jan-mar ?", cron(**NINE, days=(1, 15), months=(1, 2, 3))),
        ("* * * * * *", cron()),
        ("*/20 10-30/10 20/2 * * *", cron(seconds=(0, 20, 40), minutes=(10, 20, 30), hours=(20, 22))),
        ("5 * * * *", cron(seconds=(5,))),
        ("1,30-32,59 0 9 * * *", cron(**{**NINE, "seconds": (1, 30, 31, 32, 59)})),
        ("0 0 9 1 * 1", cron(**NINE, days=(1,), weekdays=(1,), either=True)),
        ("0 0 9 */10 * 1", cron(**NINE, days=(1, 11, 21, 31), weekdays=(1,))),
        ("0 0 9 * * Mon/2", cron(**NINE, weekdays=(1, 3, 5))),
        ("@daily", cron(**MIDNIGHT)),
        ("@midnight", cron(**MIDNIGHT)),
        ("@weekly", cron(**MIDNIGHT, weekdays=(0,))),
        ("@monthly", cron(**MIDNIGHT, days=(1,))),
        ("@yearly", cron(**MIDNIGHT, days=(1,), months=(1,))),
        ("@hourly", cron(seconds=(0,), minutes=(0,))),
        ("TZ=Asia/Tokyo @midnight", cron(**MIDNIGHT, zone="Asia/Tokyo")),
        ("CRON_TZ=Europe/Berlin  0 0 9 * * *", cron(**NINE, zone="Europe/Berlin")),
        ("@every 1h30m", Every(5400)),
        ("@every 90s", Every(90)),
        ("@every 1.5h", Every(5400)),
        ("@every 200ms", Every(1)),
    ],
)
def test_a_line_means_what_robfig_says(text, expected):
    assert parse_cron(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("0 6 * * *", cron(seconds=(0,), minutes=(0,), hours=(6,))),
        ("*/15 * * * 1-5", cron(seconds=(0,), minutes=(0, 15, 30, 45), weekdays=(1, 2, 3, 4, 5))),
        ("30 0 6 * * *", cron(seconds=(30,), minutes=(0,), hours=(6,))),
    ],
)
def test_five_fields_of_a_crontab_begin_with_the_minute(text, expected):
    assert parse_cron(text, crontab=True) == expected


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "empty"),
        ("  ", "empty"),
        ("* * * *", "has 4 fields"),
        ("* * * * * * *", "has 7 fields"),
        ("60 * * * * *", "60 is not between 0 and 59"),
        ("* * 24 * * *", "`24` is no hour"),
        ("* * * 0 * *", "0 is not between 1 and 31"),
        ("* * * 32 * *", "32 is not between 1 and 31"),
        ("* * * * 13 *", "no month"),
        ("* * * * * 8", "no day of the week"),
        ("* * * * Foo *", "`Foo` is no number and no name"),
        ("* 5-3 * * * *", "5-3 begins after it ends"),
        ("*/0 * * * * *", "the step `0`"),
        ("*/x * * * * *", "the step `x`"),
        ("1,,2 * * * * *", "`` is no number"),
        ("-1 * * * * *", "`` is no number"),
        ("*-5 * * * * *", "`*` is no number"),
        ("1-2-3 * * * * *", "`2-3` is no number"),
        ("L * * * * *", "`L` is no number"),
        ("* * * L * *", "`L` is no number"),
        ("* * * * * 1#2", "`1#2` is no number"),
        ("² * * * * *", "`²` is no number"),
        ("*$&%*(W&", "has 1 fields"),
        ("@sometimes", "`@sometimes` is no schedule"),
        ("@every", "is no schedule: write a time"),
        ("@every 5", "is no schedule: write a time"),
        ("@every -5s", "is no schedule: write a time"),
        ("@every 99999999h", "more than a hundred years"),
        ("TZ=Mars/Phobos 0 0 9 * * *", "`Mars/Phobos` is no time zone"),
        ("TZ=../etc/passwd 0 0 9 * * *", "is no time zone"),
        ("TZ= 0 0 9 * * *", "is no time zone"),
    ],
)
def test_a_wrong_line_is_refused_with_the_field_that_is_wrong(text, message):
    with pytest.raises(SpecError) as wrong:
        parse_cron(text)
    assert message in wrong.value.message
    assert wrong.value.hint
