"""Every case, run by a real server, comes to what it is expected to come to."""

import re

import pytest
from tests.conformance.checklist import CHECKLIST
from tests.conformance.comparing import differences

NAMES = sorted(
    {name for line in CHECKLIST.values() for name in line.pipelines if not name.startswith("life-")}
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", NAMES)
def test_a_run_comes_to_what_is_expected(name, session, server):
    expected, outcome = session.cases[name]["expected"], session.of(name)
    if "refused" in expected:
        said = str(outcome.refused)
        assert outcome.refused, f"it was not refused: {outcome.run}"
        assert re.search(expected["refused"], said), said
        return
    assert not outcome.refused, outcome.refused
    found = differences(outcome.run, expected)
    for task, pattern in expected.get("logs", {}).items():
        log = server.log(outcome.run["id"], task)
        found += [] if re.search(pattern, log) else [f"the log of {task} is {log[-2000:]!r}"]
    if "again" in expected:
        second = {"state": "SUCCEEDED", **expected["again"]}
        found += [f"the second time: {one}" for one in differences(outcome.again, second)]
    assert not found, "\n" + "\n".join(found)
