"""Lines of streams: text of real people has line ends that are none."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tuneline.serve.event_stream import lines, lines_async

TEXT = 'data: {"content": "so\u0085it\u2028goes\x0b\x1c"}\r\n\ndata: [DONE]\nrest'
WANTED = ['data: {"content": "so\u0085it\u2028goes\x0b\x1c"}', "", "data: [DONE]", "rest"]


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_a_line_ends_at_a_line_feed_alone_however_it_is_cut(size: int) -> None:
    data = TEXT.encode()
    chunks = [data[at : at + size] for at in range(0, len(data), size)]

    async def come() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def read() -> list[str]:
        return [line async for line in lines_async(come())]

    assert list(lines(iter(chunks))) == asyncio.run(read()) == WANTED
