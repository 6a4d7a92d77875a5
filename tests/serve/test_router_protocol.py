"""HTTP without sockets: however the bytes come in, the same events come out."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneline.serve.router_protocol import (
    END,
    BadMessage,
    RequestHead,
    RequestReader,
    ResponseHead,
    ResponseReader,
)
from tuneline.serve.router_wire import chunk, client_head, plain_response, upstream_head

REQUESTS = (
    b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nT: 1\r\n\r\n"
    b"GET /b?q=1 HTTP/1.1\r\nHost: a\r\nX-Session: s\r\n\r\n"
    b"POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX-Session: s\r\nX-User: u\r\n"
    b"Connection: close\r\n\r\nhello"
)
RESPONSES = (
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
)


def pieces(data, cuts):
    at = [0, *sorted(cut % len(data) for cut in cuts), len(data)]
    return [data[a:b] for a, b in zip(at, at[1:], strict=False) if b > a]


def joined(events):
    """Events with neighbouring pieces of a body put together."""
    found = []
    for event in events:
        if isinstance(event, bytes) and found and isinstance(found[-1], bytes):
            found[-1] += event
        else:
            found.append(event)
    return found


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 10_000), max_size=8))
def test_requests_are_the_same_however_they_are_cut(cuts):
    reader = RequestReader()
    events = joined(event for piece in pieces(REQUESTS, cuts) for event in reader.feed(piece))
    one, body_one, _, two, _, three, body_three, _ = events
    assert [event.target for event in (one, two, three)] == [b"/a", b"/b?q=1", b"/c"]
    assert (body_one, body_three) == (b"abcdefg", b"hello")
    assert (one.chunked, two.length, three.length) == (True, 0, 5)
    assert [event.keep_alive for event in (one, two, three)] == [True, True, False]
    assert len(one.headers) == 2  # the trailer is no header


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 10_000), max_size=8))
def test_responses_are_the_same_however_they_are_cut_and_100_continue_is_none(cuts):
    reader = ResponseReader()
    for _ in range(2):
        reader.expect(b"GET")
        head, body, end = joined(event for piece in pieces(RESPONSES, cuts) for event in reader.feed(piece))
        assert (head.status, head.framing, body, end) == (200, "chunked", b"abc", END)
        assert reader.complete


@pytest.mark.parametrize(
    "method, data, framing",
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "none"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "none"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", "none"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "none"),
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "length"),
    ],
)
def test_an_answer_without_a_body_is_complete_with_its_head_and_the_next_can_follow(method, data, framing):
    reader = ResponseReader()
    for _ in range(2):
        reader.expect(method)
        head, end = reader.feed(data)
        assert (head.framing, end, reader.complete) == (framing, END, True)


def test_an_answer_without_framing_ends_with_the_connection_and_any_other_does_not():
    reader = ResponseReader()
    reader.expect(b"GET")
    reader.feed(b"HTTP/1.0 200 OK\r\n\r\nabc")
    assert reader.eof()
    reader = ResponseReader()
    reader.expect(b"GET")
    reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc")
    assert not reader.eof()


@pytest.mark.parametrize(
    "data", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"\x00"]
)
def test_a_runtime_that_speaks_no_http_is_told_from_one_that_does(data):
    reader = ResponseReader()
    reader.expect(b"GET")
    with pytest.raises(BadMessage, match="no valid HTTP"):
        reader.feed(data)


def test_what_a_runtime_says_unasked_is_not_taken_for_an_answer():
    with pytest.raises(BadMessage, match="asked for"):
        ResponseReader().feed(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_make_the_reader_fail_in_any_other_way(data):
    reader = RequestReader()
    for event in reader.feed(data):
        assert isinstance(event, RequestHead | bytes | BadMessage) or event is END


def head_of(data):
    (head, *_) = RequestReader().feed(data)
    return head


def test_headers_of_this_hop_stay_here():
    head = head_of(
        b"POST /x HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive, X-Mine\r\nX-Mine: 1\r\nTE: trailers\r\n"
        b"Expect: 100-continue\r\nX-Forwarded-For: 1.2.3.4\r\nTransfer-Encoding: chunked\r\n"
        b"X-Other: 2\r\n\r\n"
    )
    assert upstream_head(head, b"id", "10.0.0.1") == (
        b"POST /x HTTP/1.1\r\nHost: a\r\nX-Other: 2\r\nx-request-id: id\r\n"
        b"x-forwarded-for: 1.2.3.4, 10.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    answer = ResponseHead(200, b"OK", [(b"Keep-Alive", b"5"), (b"A", b"b")], True, "close", False)
    said = client_head(answer, b"id", b"m@1", chunked=True, http_1_1=True, keep_alive=True)
    assert said == (
        b"HTTP/1.1 200 OK\r\nA: b\r\nx-request-id: id\r\nx-tuneline-release: m@1\r\n"
        b"transfer-encoding: chunked\r\n\r\n"
    )


def test_an_id_that_cannot_be_a_header_s_value_everywhere_is_not_taken():
    assert head_of(b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: ok-1\r\n\r\n").request_id == b"ok-1"
    assert head_of(b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: \xff\r\n\r\n").request_id == b""
    assert (
        head_of(b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: " + b"x" * 201 + b"\r\n\r\n").request_id == b""
    )


def test_what_the_router_says_itself_is_read_by_its_own_reader():
    for data in (plain_response(503, b"{}", keep_alive=True, retry_after_s=5), b"HTTP/1.1 200 OK\r\n\r\n"):
        reader = ResponseReader()
        reader.expect(b"GET")
        head = reader.feed(data)[0]
        assert head.status in (200, 503)
    assert chunk(b"x" * 17) == b"11\r\n" + b"x" * 17 + b"\r\n"
