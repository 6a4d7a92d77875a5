"""The lines of a stream of server-sent events, for whoever reads one: engines, timing, `tuneline chat`.

httpx splits text where Python's `str.splitlines` does: also at U+0085 and U+2028, which JSON leaves as they
are. An event that holds one would be cut in two. Here a line ends at `\\n` alone, as in what we read it does.
"""

from collections.abc import AsyncIterator, Iterator


class Lines:
    """Cuts bytes into lines, however they come in."""

    def __init__(self) -> None:
        self._rest = b""

    def whole(self, data: bytes) -> list[str]:
        """Lines that `data` completes, without their ends."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [_text(line) for line in lines]

    def last(self) -> list[str]:
        """What stands after the last line end, if anything does."""
        rest, self._rest = self._rest, b""
        return [_text(rest)] if rest else []


def lines(chunks: Iterator[bytes]) -> Iterator[str]:
    """Lines of a response's `iter_bytes()`."""
    cut = Lines()
    for chunk in chunks:
        yield from cut.whole(chunk)
    yield from cut.last()


async def lines_async(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Lines of a response's `aiter_bytes()`."""
    cut = Lines()
    async for chunk in chunks:
        for line in cut.whole(chunk):
            yield line
    for line in cut.last():
        yield line


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "replace")
