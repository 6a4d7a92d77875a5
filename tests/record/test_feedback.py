"""Scores on a real database: numbers that only grow, one score each, and readers that miss none."""

from tuneline.record.feedback import Score

NOW = 1_800_000_000.0


def test_a_second_score_by_the_same_replaces_the_first_under_its_number(record):
    first = record.feedback.add("reviews", "r1", 0.0, "wrong", "ann", NOW)
    other = record.feedback.add("reviews", "r1", 1.0, "", "bob", NOW + 1)
    again = record.feedback.add("reviews", "r1", 0.5, "half", "ann", NOW + 2)
    assert (first, other, again) == (1, 2, 1)
    rows = record.feedback.of("reviews", "r1")
    assert [(row.n, row.by, row.score, row.comment, row.at) for row in rows] == [
        (1, "ann", 0.5, "half", NOW + 2),
        (2, "bob", 1.0, "", NOW + 1),
    ]


def test_whoever_keeps_the_last_number_reads_each_score_once(record):
    record.feedback.add_all("reviews", [Score(f"r{i}", 1.0) for i in range(1200)], "ann", NOW)
    seen, last = [], 0
    while batch := record.feedback.since("reviews", last, limit=500):
        seen += [row.request_id for row in batch]
        last = batch[-1].n
    assert seen == [f"r{i}" for i in range(1200)]
    record.feedback.add("reviews", "r7", 0.0, "", "ann", NOW)
    assert record.feedback.since("reviews", last) == []
    new = record.feedback.add("reviews", "r7", 0.0, "", "bob", NOW)
    assert [(row.n, row.request_id) for row in record.feedback.since("reviews", last)] == [(new, "r7")]


def test_numbers_are_of_one_endpoint(record):
    assert record.feedback.add("a", "r1", 1.0, "", "ann", NOW) == 1
    assert record.feedback.add("b", "r1", 0.0, "", "ann", NOW) == 1
    assert [row.score for row in record.feedback.since("a", 0)] == [1.0]


def test_of_two_scores_of_one_request_in_a_batch_the_later_counts(record):
    numbers = record.feedback.add_all("a", [Score("r1", 0.0), Score("r2", 1.0), Score("r1", 1.0)], "ann", NOW)
    assert numbers == [3, 2, 3]
    assert [(row.request_id, row.score) for row in record.feedback.since("a", 0)] == [
        ("r2", 1.0),
        ("r1", 1.0),
    ]


def test_giving_a_score_wakes_who_listens(record):
    woken = []
    with record.changes.listening("feedback", lambda: woken.append(1)):
        record.feedback.add("a", "r1", 1.0, "", "ann", NOW)
    assert woken == [1]
