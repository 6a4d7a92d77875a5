"""Whatever is sent, the server answers as KFP's does and never breaks: requests with any part replaced."""

import copy
import json
import time

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.execute.doubles import pipeline

SPEC = pipeline(
    {"a": {"out": ["x"], "made": ["y"]}, "b": {"given": {"n": ("a", "x")}, "read": {"m": ("a", "y")}}}
)
SPEC["root"]["inputDefinitions"] = {
    "parameters": {"n": {"parameterType": "NUMBER_INTEGER", "isOptional": True}}
}
BODIES = {
    "/experiments": {"display_name": "e", "description": "d"},
    "/pipelines": {"display_name": "p", "tags": {"a": "b"}},
    "/pipelines/create": {
        "pipeline": {"name": "p"},
        "pipeline_version": {"package_url": {"pipeline_url": "x:"}},
    },
    "/runs": {
        "display_name": "r",
        "pipeline_spec": SPEC,
        "runtime_config": {"parameters": {"n": 1}, "pipeline_root": ""},
        "scheduled_at": "2026-01-01T00:00:00Z",
        "plugins_input": {"a": {}},
    },
}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from places(part, (*path, key))


PLACES = {path: list(places(body)) for path, body in BODIES.items()}


@st.composite
def requests(draw):
    """A path and a body with one to three parts replaced, dropped or renamed."""
    path = draw(st.sampled_from(["/runs", "/runs", "/runs", *BODIES]))
    body = copy.deepcopy(BODIES[path])
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(PLACES[path]))
        if not place:
            return path, draw(ANYTHING)
        target = body
        try:
            for key in place[:-1]:
                target = target[key]
            how = draw(st.sampled_from(["replace", "drop", "rename"]))
            if how == "replace":
                target[place[-1]] = draw(ANYTHING)
            elif how == "drop":
                del target[place[-1]]
            else:
                target[draw(st.text(max_size=5))] = target.pop(place[-1])
        except (AttributeError, KeyError, IndexError, TypeError):
            continue  # an earlier change took that place away
    return path, body


def test_no_request_breaks_the_server(http, platform):
    @settings(max_examples=250, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(requests())
    def ask(request):
        path, body = request
        answer = http.post(path, content=json.dumps(body))
        assert answer.status_code in (200, 400, 404, 409, 413, 503), (answer.text, path, body)
        said = answer.json()
        if answer.status_code != 200:
            assert said["details"][0]["message"] == said["message"]

    ask()
    assert http.get("/runs?page_size=200").status_code == 200
    deadline = time.monotonic() + 30
    while platform.record.runs.active() and time.monotonic() < deadline:  # whatever was taken also ends
        time.sleep(0.05)
    assert not platform.record.runs.active()
