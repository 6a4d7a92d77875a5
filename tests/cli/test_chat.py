"""`tuneline chat` and a real runtime on a tiny release."""

import socket

import pytest
from tests.serve.conftest import runtime_arguments
from tests.serve.releases import make_release

from tuneline.cli.chat import answer, pieces
from tuneline.errors import NetworkError
from tuneline.serve import child

BODY = {"messages": [{"role": "user", "content": "a great film"}], "max_tokens": 8, "temperature": 0}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    release = make_release(tmp_path_factory.mktemp("release"))
    with child.running(runtime_arguments(release)) as running:
        yield f"{running}/v1/chat/completions"


@pytest.mark.slow
def test_what_is_streamed_is_the_whole_answer(url):
    whole = answer(url, {"model": "tiny", **BODY})
    streamed = list(pieces(url, {"model": "tiny", **BODY}))
    assert "".join(streamed) == whole["choices"][0]["message"]["content"]
    assert len(streamed) > 1
    assert whole["usage"]["completion_tokens"] == 8


@pytest.mark.slow
def test_what_the_endpoint_refuses_is_told_in_its_words(url):
    with pytest.raises(NetworkError, match=r"answered 404: .*nonsense"):
        list(pieces(url, {"model": "nonsense", **BODY}))
    with pytest.raises(NetworkError, match=r"answered 400: "):
        answer(url, {"model": "tiny", "messages": []})


def test_an_endpoint_that_is_gone_is_told_with_what_to_look_at():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1/chat/completions"
    with pytest.raises(NetworkError, match="broke off") as told:
        answer(url, {"model": "tiny", **BODY})
    assert "tuneline status" in told.value.hint
