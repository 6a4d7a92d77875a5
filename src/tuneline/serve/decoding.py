"""Token ids to text while they come: whole characters only, and nothing that may become a stop string.

Pure.
"""

from collections.abc import Callable, Sequence

Decode = Callable[[Sequence[int]], str]


class TextStream:
    """The text of a growing answer, given out in parts that are never taken back."""

    def __init__(self, decode: Decode, stop: Sequence[str]) -> None:
        self._decode, self._stop = decode, stop
        self._ids: list[int] = []
        self._given = 0
        self.stopped = False

    def add(self, token: int) -> str:
        """The text that is certain now that `token` came; sets `stopped` if a stop string is complete."""
        self._ids.append(token)
        text = self._decode(self._ids)
        ends = [place for place in (text.find(word, self._given) for word in self._stop) if place >= 0]
        if ends:
            self.stopped = True
            return self._give(text, min(ends))
        if text.endswith("\ufffd"):  # the first bytes of a character whose last ones are still to come
            return ""
        return self._give(text, len(text) - held_back(text[self._given :], self._stop))

    def rest(self) -> str:
        """What was held back, when nothing more comes."""
        text = self._decode(self._ids)
        return "" if self.stopped else self._give(text, len(text))

    def _give(self, text: str, end: int) -> str:
        part, self._given = text[self._given : end], max(self._given, end)
        return part


def held_back(text: str, stop: Sequence[str]) -> int:
    """How many characters at the end of `text` may be the beginning of a stop string."""
    for size in range(min(len(text), max(map(len, stop), default=1) - 1), 0, -1):
        if any(word.startswith(text[-size:]) for word in stop):
            return size
    return 0
