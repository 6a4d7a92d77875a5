"""Every clause of the checklist has a case, and every case stands for a clause."""

from tests.conformance.checklist import CHECKLIST


def test_every_clause_has_cases_and_every_case_a_clause(cases):
    assert len(CHECKLIST) >= 100
    assert not [name for name, line in CHECKLIST.items() if not line.pipelines or len(line.sentence) < 10]
    named = {name for line in CHECKLIST.values() for name in line.pipelines}
    assert named - set(cases) == set(), "clauses name cases that are not there"
    assert set(cases) - named == set(), "no clause names these cases"


def test_a_case_says_something_that_a_run_could_fail(cases):
    said = ("tasks", "outputs", "errors", "refused")
    silent = [
        name
        for name, case in cases.items()
        if not name.startswith("life-") and not any(key in case["expected"] for key in said)
    ]
    assert silent == []
