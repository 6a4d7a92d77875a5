"""The router's decisions without sockets: comparison, places, overrides, figures."""

import json
from dataclasses import replace

import pytest
from tests.serve.test_router_log import line

from tuneline.serve.router_compare import Answer, agree
from tuneline.serve.router_kept import Body, Held, keep
from tuneline.serve.router_log import Segments
from tuneline.serve.router_metrics import Metrics
from tuneline.serve.router_places import Places
from tuneline.serve.router_protocol import RequestHead
from tuneline.serve.router_turn import find
from tuneline.serve.traffic import (
    Bodies,
    Limits,
    Revision,
    Shadow,
    Traffic,
    named,
    sampled,
)

TRAFFIC = Traffic(
    "e",
    1,
    (Revision("a-1", "m@1.0.0", "h", 1, 95.0), Revision("b-2", "m@1.1.0", "h", 2, 0.0)),
    "seed",
)


def whole(body, status=200):
    return Answer(status, False, body if isinstance(body, bytes) else json.dumps(body).encode())


def stream(*texts, key="content", end=b"data: [DONE]\n\n"):
    choices = [{"index": 0, "delta": {"content": text}} if key else {"text": text} for text in texts]
    events = [b"data: " + json.dumps({"id": "x", "choices": [each]}).encode() + b"\n\n" for each in choices]
    return Answer(200, True, b"".join(events) + end)


def chat(text, id="1", **more):
    return {"id": id, "created": 1, "choices": [{"index": 0, "message": {"content": text}, **more}]}


@pytest.mark.parametrize(
    "live, shadow, wanted",
    [
        (whole(b"abc"), whole(b"abc"), True),
        (whole(b"abc"), whole(b"abd"), False),
        (whole(b"abc"), whole(b"abc", 404), False),
        (whole(b"abc", 200), whole(b"abc", 201), True),
        (whole({"a": 1, "id": "x"}), whole({"id": "y", "usage": {}, "a": 1}), True),
        (whole({"a": 1, "b": {"id": 1}}), whole({"a": 1, "b": {"id": 2}}), False),
        (whole([{"id": 1}]), whole([{"id": 2}]), False),
        (whole(chat("yes")), whole(chat("yes", "2", logprobs=[0.1])), True),
        (whole(chat("yes")), whole(chat("no")), False),
        (whole({"choices": [{"text": "a"}]}), whole({"choices": [{"text": "b"}]}), False),
        (whole(b"{"), whole(b"{}"), False),
        (whole(b"abc"), Answer(200, False, None), None),
        (Answer(0, False, b""), Answer(0, False, b""), None),
        (stream("ye", "s"), stream("yes"), True),
        (stream("ye", "s"), stream("no"), False),
        (stream("ye", key=""), stream("y", "e", key="", end=b""), True),
        (stream("yes"), whole(chat("yes")), None),
        (Answer(200, True, b"data: tick\n\n"), Answer(200, True, b"data: tick\n\n"), None),
    ],
)
def test_answers_agree_by_what_they_say(live, shadow, wanted):
    assert agree(live, shadow) is wanted


class Caller:
    def __init__(self):
        self.in_ = False

    def admitted(self):
        self.in_ = True


def test_places_go_to_whoever_waits_longest_and_the_queue_has_an_end():
    places, limits = Places(), Limits(max_concurrent=2, max_queue=2)
    callers = [Caller() for _ in range(5)]
    assert [places.enter("r", who, limits) for who in callers] == [True, True, False, False, None]
    assert places.queued == {"r": 2}
    places.leave("r", limits)
    assert [each.in_ for each in callers] == [False, False, True, False, False]
    places.give_up("r", callers[3])
    places.leave("r", limits)
    assert places.queued == {}
    assert not callers[3].in_
    assert places.enter("r", Caller(), limits) is True


def test_nobody_overtakes_those_who_wait_and_more_room_lets_them_in():
    places, limits = Places(), Limits(max_concurrent=1, max_queue=9)
    callers = [Caller() for _ in range(3)]
    assert [places.enter("r", who, limits) for who in callers] == [True, False, False]
    wider = replace(limits, max_concurrent=2)
    assert places.enter("r", Caller(), wider) is False
    places.admit("r", wider)
    assert [each.in_ for each in callers] == [False, True, False]
    assert places.enter("other", Caller(), limits) is True


@pytest.mark.parametrize("whole_number", [0, 1, 3, 8, 100])
@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_the_workers_parts_add_up(whole_number, workers):
    assert sum(Places(each, workers).part(whole_number) for each in range(workers)) == whole_number


@pytest.mark.parametrize(
    "name, wanted", [("b-2", "b-2"), ("m@1.1.0", "b-2"), ("1.1.0", "b-2"), ("2.0.0", None), ("m", None)]
)
def test_an_override_names_a_revision_a_release_or_a_version(name, wanted):
    found = named(TRAFFIC, name)
    assert (found.id if found else None) == wanted


def test_of_two_revisions_of_one_release_the_one_with_weight_is_meant():
    again = Revision("a-3", "m@1.0.0", "h", 3, 0.0)
    assert named(replace(TRAFFIC, revisions=(*TRAFFIC.revisions, again)), "1.0.0").id == "a-1"


def test_the_first_sticky_header_in_the_order_of_preference_counts():
    headers = [(b"X-User-Id", b"u"), (b"X-Session-Id", b"s"), (b"X-Tuneline-Release", b" 1.1.0 ")]
    names = {b"x-tuneline-session": 0, b"x-session-id": 1, b"x-user-id": 2}
    assert find(headers, names, b"x-tuneline-release") == (b"s", b"1.1.0")
    assert find(headers, {b"x-user-id": 0}, b"") == (b"u", b"")
    assert find([(b"x-session-id", b"")], names, b"x") == (b"", b"")


def test_a_share_of_requests_is_taken_and_two_purposes_take_different_ones():
    """10,000 ids: within five standard deviations."""
    ids = [f"id-{number}" for number in range(10_000)]
    one = [sampled(TRAFFIC, "shadow", id, 0.3) for id in ids]
    other = [sampled(TRAFFIC, "bodies", id, 0.3) for id in ids]
    assert abs(sum(one) - 3000) < 5 * (10_000 * 0.3 * 0.7) ** 0.5
    assert (
        abs(sum(a and b for a, b in zip(one, other, strict=True)) - 900) < 5 * (10_000 * 0.09 * 0.91) ** 0.5
    )
    assert not any(sampled(TRAFFIC, "shadow", id, 0.0) for id in ids[:100])


def head(method=b"POST"):
    return RequestHead(method, b"/", [], True, True, 0, False, b"")


def test_only_what_may_be_copied_and_was_not_overridden_goes_to_the_shadow():
    shadowed = replace(TRAFFIC, shadow=Shadow("b-2"))
    app = replace(shadowed, limits=Limits(repeat_all=False))
    assert keep(shadowed, head(), "1", False, Held()).shadow == "b-2"
    assert keep(shadowed, head(), "1", True, Held()) is None
    assert keep(shadowed, head(b"GET"), "1", False, Held()) is None
    assert keep(app, head(), "1", False, Held()) is None
    assert keep(app, head(b"GET"), "1", False, Held()).shadow == "b-2"
    assert keep(TRAFFIC, head(), "1", False, Held()) is None
    assert keep(replace(TRAFFIC, bodies=Bodies(share=0.0)), head(), "1", False, Held()) is None


def test_what_is_held_at_once_has_a_bound_and_is_given_back():
    held = Held(most=10)
    one, other = Body(held, 100), Body(held, 100)
    one.add(b"x" * 8)
    other.add("aü!".encode() * 3)
    assert (one.whole(), other.whole(), other.cut, held.bytes) == (b"x" * 8, None, True, 10)
    assert other.text(100) == "a"  # half an ü was kept, and is not shown
    assert other.seen == 12
    one.free()
    one.free()
    other.free()
    assert held.bytes == 0


def test_figures_of_two_workers_are_added_and_say_what_they_always_said():
    one, other = Metrics(), Metrics()
    for seconds in (0.0001, 0.001, 0.0011):
        one.count("m@1.0.0", 200, seconds)
    other.count("m@1.0.0", 200, 1000.0)
    for each in (one, other):
        each.more("rejected_total", "r", "full")
        each.more("requests_in_flight", "r", by=2)
    one.add(json.loads(json.dumps(other.to_json())))
    text = one.text(7).splitlines()
    buckets = [int(each.split()[-1]) for each in text if "_bucket" in each]
    assert (buckets[0], buckets[1], buckets[-2], buckets[-1]) == (2, 3, 3, 4)
    for wanted in (
        'tuneline_router_requests_total{release="m@1.0.0",code="200"} 4',
        'tuneline_router_rejected_total{revision="r",reason="full"} 2',
        'tuneline_router_requests_in_flight{revision="r"} 4',
        "tuneline_router_retries_total 0",
        "tuneline_router_traffic_generation 7",
    ):
        assert wanted in text


def test_two_workers_never_write_to_one_segment_and_a_deleted_one_is_not_made_again(tmp_path):
    workers = [Segments(tmp_path) for _ in range(2)]
    for number, each in enumerate(workers):
        each.add(line(number))
        each.write()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000001.jsonl", "00000002.jsonl"]
    (tmp_path / "00000001.jsonl").unlink()
    workers[0].add(line(7))
    assert workers[0].write() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000002.jsonl", "00000003.jsonl"]


def test_a_line_says_only_what_is_not_as_usual():
    usual = json.loads(line().text())
    assert not set(usual) & {"override", "shadow_of", "agrees", "request", "response"}
    copy = json.loads(replace(line(), shadow_of="r", override=True, request="", response="x").text())
    assert {key: copy[key] for key in copy.keys() - usual.keys()} == {
        "override": True, "shadow_of": "r", "agrees": None, "request": "", "response": "x",
    }  # fmt: skip
