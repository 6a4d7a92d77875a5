"""The name of a shared runtime's release in requests, and paths as a runtime will see them."""

import json

import pytest

from tuneline.serve.router_renaming import path_of, renamed
from tuneline.serve.traffic import Traffic

REVISION = {"id": "a", "release": "m@1", "host": "engine", "port": 8000, "weight": 100}


def test_model_is_replaced_and_all_else_is_kept():
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "Grüße \ud83d"}],
        "temperature": 0.1,
        "n": 10**20,
    }
    assert json.loads(renamed(json.dumps(body).encode(), "m@1.1.0")) == {**body, "model": "m@1.1.0"}


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b'"text"'])
def test_what_is_no_json_object_stays_as_it_is(body):
    assert renamed(body, "m@1.1.0") == body


@pytest.mark.parametrize(
    "target, path",
    [(b"/v1/models?x=1", b"/v1/models"), (b"/v1/load%5Flora_adapter", b"/v1/load_lora_adapter"),
     (b"http://h:80/v1/load_lora_adapter?x", b"/v1/load_lora_adapter"), (b"*", b"*")],
)  # fmt: skip
def test_a_path_is_what_the_runtime_will_see(target, path):
    assert path_of(target) == path


def test_traffic_keeps_names_closed_paths_and_the_page():
    body = {"endpoint": "e", "generation": 1, "revisions": [{**REVISION, "model": "m@1"}], "closed": ["/x"],
            "page": True}  # fmt: skip
    traffic = Traffic.from_json(body)
    assert (traffic.revisions[0].model, traffic.closed, traffic.page) == ("m@1", ("/x",), True)
    assert Traffic.from_json(traffic.to_json()) == traffic
    plain = Traffic.from_json({"endpoint": "e", "generation": 1, "revisions": [REVISION]})
    assert (plain.revisions[0].model, plain.closed, plain.page) == ("", (), False)
