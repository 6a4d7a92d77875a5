"""Tokens on a real database: what is stored, what is taken, what is refused."""

from pathlib import Path

import pytest

from tuneline.errors import ConflictError, NotFoundError, SettingError
from tuneline.record.tokens import new_token

NOW = 1_800_000_000.0


def test_a_token_is_taken_until_it_is_revoked(record):
    token = record.tokens.create("ci", NOW)
    assert token.startswith("tl_")
    caller = record.tokens.check(token, NOW + 1)
    assert (caller.name, caller.read_only, caller.expires_at) == ("ci", False, None)
    assert record.tokens.any(NOW)
    record.tokens.revoke("ci", NOW + 2)
    assert record.tokens.check(token, NOW + 2) is None
    assert not record.tokens.any(NOW + 2)


def test_nothing_of_its_secret_is_in_the_database(record, database_url):
    secret = record.tokens.create("ci", NOW).split("_", 2)[2]  # it may have `_` in it
    record.tokens.check(secret, NOW)
    record.close()
    folder = Path(database_url.removeprefix("sqlite:///")).parent
    assert not any(secret.encode() in file.read_bytes() for file in folder.glob("tuneline.db*"))


def test_a_token_ends_with_its_time(record):
    token = record.tokens.create("short", NOW, expires_at=NOW + 10, read_only=True)
    caller = record.tokens.check(token, NOW + 9.9)
    assert (caller.read_only, caller.expires_at) == (True, NOW + 10)
    assert record.tokens.check(token, NOW + 10) is None
    assert record.tokens.create("short", NOW + 10) != token  # its name is free again


@pytest.mark.parametrize("change", [lambda t: t[:-1] + ("A" if t[-1] != "A" else "B"), lambda t: t.upper(),
                                    lambda t: t + "x", lambda t: "tl_" + "0" * 12 + t[15:],
                                    lambda t: "", lambda t: "Bearer", lambda t: "tl__"])  # fmt: skip
def test_anything_else_is_refused(record, change):
    assert record.tokens.check(change(record.tokens.create("ci", NOW)), NOW) is None


def test_a_name_is_one_good_token(record):
    record.tokens.create("ci", NOW)
    with pytest.raises(ConflictError, match="`ci` already"):
        record.tokens.create("ci", NOW)
    with pytest.raises(SettingError, match="`a b`"):
        record.tokens.create("a b", NOW)
    with pytest.raises(NotFoundError) as wrong:
        record.tokens.revoke("cd", NOW)
    assert wrong.value.hint == "Good tokens: ci."


def test_the_list_tells_when_a_token_was_used_and_never_its_digest(record):
    token = record.tokens.create("ci", NOW)
    record.tokens.check(token, NOW + 5)
    record.tokens.check(token, NOW + 6)
    (row,) = record.tokens.all()
    assert (row["name"], row["used_at"]) == ("ci", NOW + 5)
    assert "digest" not in row


def test_a_token_made_elsewhere_is_kept_and_followed_by_another(record):
    first, second = new_token(), new_token()
    assert record.tokens.keep("ci", first, NOW) == "new"
    assert record.tokens.keep("ci", first, NOW + 1, read_only=True) == "kept"
    assert record.tokens.check(first, NOW + 2).read_only
    assert record.tokens.keep("ci", second, NOW + 3) == "replaced"
    assert record.tokens.check(first, NOW + 4) is None
    assert record.tokens.check(second, NOW + 4).name == "ci"
    assert len(record.tokens.all()) == 2


def test_what_was_revoked_is_not_brought_back_by_keeping_it(record):
    token, other = new_token(), new_token()
    record.tokens.keep("ci", token, NOW)
    record.tokens.revoke("ci", NOW + 1)
    assert record.tokens.keep("ci", token, NOW + 2) == "revoked"
    assert record.tokens.check(token, NOW + 3) is None
    record.tokens.keep("ci", other, NOW + 4)
    assert record.tokens.keep("ci", token, NOW + 5) == "revoked"
    assert record.tokens.check(other, NOW + 6).name == "ci"


def test_a_token_has_one_name_and_one_secret(record):
    token = new_token()
    record.tokens.keep("ci", token, NOW)
    changed = token[:-1] + ("A" if token[-1] != "A" else "B")
    for name, text in (("cd", token), ("ci", changed)):
        with pytest.raises(ConflictError, match="known as `ci`, or was changed"):
            record.tokens.keep(name, text, NOW)
    with pytest.raises(SettingError, match="`ci` is no token") as wrong:
        record.tokens.keep("ci", "hunter2", NOW)
    assert "hunter2" not in wrong.value.message + wrong.value.hint
    assert record.tokens.check(token, NOW).name == "ci"
