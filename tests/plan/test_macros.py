"""Macros in a schedule's parameters, as Kubeflow Pipelines writes them out."""

from datetime import UTC, datetime

import pytest

from tuneline.plan.macros import Occasion, expand, go_time

TICK = int(datetime(2026, 3, 9, 4, 5, 6, tzinfo=UTC).timestamp())
NOW = int(datetime(2026, 11, 25, 16, 7, 8, tzinfo=UTC).timestamp())
OCCASION = Occasion("0b1c", TICK, NOW, 7, "Europe/Berlin")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("plain", "plain"),
        ("", ""),
        ("[[RunUUID]]", "0b1c"),
        ("[[Index]]", "7"),
        ("[[ScheduledTime]]", "20260309040506"),
        ("[[CurrentTime]]", "20261125160708"),
        ("[[ScheduledTime.2006-01-02]]", "2026-03-09"),
        ("s3://b/[[CurrentTime.2006/01/02]]/x-[[Index]]-[[Index]]", "s3://b/2026/11/25/x-7-7"),
        ("[[ScheduledTime.15-04-05]]", "04-05-06"),
        ("[[Other]] [[ScheduledTime", "[[Other]] [[ScheduledTime"),
        ("[[CurrentTimes]] [[Index.2006]]", "[[CurrentTimes]] [[Index.2006]]"),
        ("{{$.scheduledTime.strftime('%Y-%m-%d %H:%M')}}", "2026-03-09 05:05"),
        ('{{$.currentTime.strftime("%d.%m.")}}', "25.11."),
        ("{{$.inputs.parameters['x']}}", "{{$.inputs.parameters['x']}}"),
        (7, 7),
        (1.5, 1.5),
        (None, None),
        (True, True),
        (["[[Index]]", {"k": "[[RunUUID]]"}], ["7", {"k": "0b1c"}]),
    ],
)
def test_a_macro_is_written_out_and_anything_else_stays(text, expected):
    assert expand(text, OCCASION) == expected


@pytest.mark.parametrize(
    "layout, expected",
    [
        ("Mon Jan _2 15:04:05 2006", "Mon Mar  9 16:05:06 2026"),
        ("Mon Jan _2 15:04:05 MST 2006", "Mon Mar  9 16:05:06 UTC 2026"),
        ("Mon Jan 02 15:04:05 -0700 2006", "Mon Mar 09 16:05:06 +0000 2026"),
        ("02 Jan 06 15:04 MST", "09 Mar 26 16:05 UTC"),
        ("Monday, 02-Jan-06 15:04:05 MST", "Monday, 09-Mar-26 16:05:06 UTC"),
        ("Mon, 02 Jan 2006 15:04:05 -0700", "Mon, 09 Mar 2026 16:05:06 +0000"),
        ("2006-01-02T15:04:05Z07:00", "2026-03-09T16:05:06Z"),
        ("2006-01-02T15:04:05.999999999Z07:00", "2026-03-09T16:05:06Z"),
        ("3:04PM", "4:05PM"),
        ("Jan _2 15:04:05.000", "Mar  9 16:05:06.000"),
        ("15:04:05,000000", "16:05:06,000000"),
        ("1/2/2006 3:4:5 pm", "3/9/2026 4:5:6 pm"),
        ("January 2, 2006", "March 9, 2026"),
        ("2006-002 __2", "2026-068  68"),
        ("run_2006_01", "run_2026_03"),
        ("Month Janet %Y", "Month Janet %Y"),
        ("-07:00 -07 Z0700 -07:00:00", "+00:00 +00 Z +00:00:00"),
        ("", ""),
    ],
)
def test_a_time_is_written_as_go_writes_it(layout, expected):
    assert go_time(datetime(2026, 3, 9, 16, 5, 6, tzinfo=UTC), layout) == expected


@pytest.mark.parametrize("hour, expected", [(0, "12AM"), (1, "01AM"), (12, "12PM"), (13, "01PM")])
def test_the_twelve_hours_of_a_clock(hour, expected):
    assert go_time(datetime(2026, 1, 1, hour, tzinfo=UTC), "03PM") == expected
