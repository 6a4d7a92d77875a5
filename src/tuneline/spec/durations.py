"""Times as people write them: `90s`, `30m`, `2h`, `1d`, or seconds."""

import re

from tuneline.errors import SpecError

_FORM = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds(text: str) -> float:
    """The seconds that a text says. Raises SpecError."""
    match = _FORM.fullmatch(text.strip())
    if not match:
        raise SpecError(f"`{text}` is no time.", hint="Write it as `90s`, `30m`, `2h` or `1d`.")
    return float(match[1]) * _SECONDS[match[2]]
