"""Who gets which revision: shares follow the weights, and nobody moves without need."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneline.errors import ConflictError
from tuneline.serve.traffic import Limits, Revision, Traffic, assign, read, replace_json, sticky_digest

WEIGHTS = st.lists(st.floats(0, 100).map(lambda weight: round(weight, 3)), min_size=1, max_size=5)
KEYS = [f"user-{number}" for number in range(200)]


def traffic(weights, seed="s"):
    listed = tuple(Revision(f"r{n}", f"m@1.0.{n}", "127.0.0.1", 9000 + n, w) for n, w in enumerate(weights))
    return Traffic("e", 1, listed, seed)


def ids(given_traffic):
    found = (assign(given_traffic, key) for key in KEYS)
    return [each.id if each else None for each in found]


@settings(max_examples=50, deadline=None)
@given(WEIGHTS)
def test_nobody_gets_a_revision_without_weight(weights):
    got = set(ids(traffic(weights)))
    assert got <= {f"r{n}" for n, weight in enumerate(weights) if weight > 0} | (
        {None} if not any(weights) else set()
    )
    assert (None in got) == (not any(weights))


@settings(max_examples=50, deadline=None)
@given(WEIGHTS, st.integers(0, 4), st.floats(1.0, 10.0))
def test_when_a_weight_grows_nobody_leaves_that_revision_and_nobody_moves_among_others(
    weights, index, factor
):
    index %= len(weights)
    grown = [weight * (factor if n == index else 1) for n, weight in enumerate(weights)]
    for before, after in zip(ids(traffic(weights)), ids(traffic(grown)), strict=True):
        assert after == before or after == f"r{index}"


@settings(max_examples=50, deadline=None)
@given(WEIGHTS, st.permutations(range(5)), st.floats(0.1, 10))
def test_neither_order_nor_unit_of_the_weights_matters(weights, order, factor):
    before = traffic(weights)
    shuffled = [before.revisions[n] for n in order if n < len(weights)]
    scaled = tuple(replace(each, weight=each.weight * factor) for each in shuffled)
    assert ids(replace(before, revisions=scaled)) == ids(before)


@pytest.mark.parametrize("weights", [(95, 5), (50, 50), (1, 2, 7)])
def test_shares_follow_the_weights(weights):
    """20,000 keys: each share within five standard deviations."""
    mixed, count = traffic(weights), 20_000
    got = [assign(mixed, f"key-{number}").id for number in range(count)]
    for number, weight in enumerate(weights):
        share = weight / sum(weights)
        assert abs(got.count(f"r{number}") / count - share) < 5 * (share * (1 - share) / count) ** 0.5


def test_endpoints_with_different_seeds_are_assigned_independently():
    one, other = ids(traffic((50, 50), "one")), ids(traffic((50, 50), "other"))
    same = sum(a == b for a, b in zip(one, other, strict=True))
    assert 60 < same < 140


def test_what_a_line_shows_of_a_key_is_not_the_key():
    assert sticky_digest(traffic((1,)), "ann") == sticky_digest(traffic((2,)), "ann")
    assert sticky_digest(traffic((1,)), "ann") != sticky_digest(traffic((1,)), "bob")
    assert "ann" not in sticky_digest(traffic((1,)), "ann")


def test_traffic_is_read_as_it_was_written_and_unknown_limits_are_left_aside(tmp_path):
    written = replace(traffic((95, 5)), limits=Limits(max_body_bytes=7))
    body = written.to_json()
    body["limits"]["of_a_later_version"] = 1
    replace_json(tmp_path / "traffic.json", body)
    assert read(tmp_path / "traffic.json") == written
    assert [path.name for path in tmp_path.iterdir()] == ["traffic.json"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"endpoint": "e", "generation": 1, "revisions": [{}]}', "half{"]
)
def test_what_is_no_traffic_is_said_to_be_none(tmp_path, text):
    (tmp_path / "traffic.json").write_text(text)
    with pytest.raises(ConflictError, match="is no traffic"):
        read(tmp_path / "traffic.json")


def test_a_negative_weight_is_refused(tmp_path):
    body = traffic((1,)).to_json()
    body["revisions"] = [{**body["revisions"][0], "weight": -1}]
    (tmp_path / "traffic.json").write_text(json.dumps(body))
    with pytest.raises(ConflictError, match=r"the weight of r0 is -1\.0"):
        read(tmp_path / "traffic.json")
