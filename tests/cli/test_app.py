"""What `tuneline app` refuses before it asks a server."""

import pytest


@pytest.mark.parametrize(
    "words, said",
    [
        (("--command", "sh -c 'never closed"), "--command cannot be read as a shell reads it"),
        (("--env", "NAME"), "--env takes NAME=VALUE, not `NAME`"),
        (("--port", "70000"), "70000 is not in the range"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(tuneline, tmp_path, words, said):
    found = tuneline("app", "put", "demo", str(tmp_path), *words)
    assert (found.code, found.out) == (2, "")
    assert said in found.err
    assert not (tmp_path / "home").exists()
