"""Tokens: who may ask this home's server from elsewhere, until when, and whether only to read.

A token is `tl_<id>_<secret>`: the id names its row, of the secret only the SHA-256 is stored (256 bits by
chance need no salt). What was revoked stays as a row, so that a name in a run's history keeps its meaning.
Limits: one owner a home; a token is not tied to projects or endpoints.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, RowMapping, and_, insert, or_, select, update

from tuneline.errors import ConflictError, NotFoundError, SettingError, TunelineError
from tuneline.record.schema import tokens
from tuneline.record.store import Store

PREFIX = "tl_"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
USED_S = 60.0
"""`used_at` is this exact, in seconds: a token that asks ten times a second is not written down each time."""
_SHAPE = re.compile(r"tl_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


GENERATE = "`tuneline token generate`"
Kept = Literal["new", "replaced", "kept", "revoked"]
"""What `Tokens.keep` found: the name is new, had another token, has had this one, or this one was revoked."""


@dataclass(frozen=True)
class Caller:
    """Whoever holds a token that is good."""

    name: str
    read_only: bool
    expires_at: float | None
    """Unix seconds; None: never."""


class Tokens:
    """The tokens of one record. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(
        self, name: str, at: float, *, expires_at: float | None = None, read_only: bool = False
    ) -> str:
        """Make a token called `name`; its text, which nobody can find out again. Times in Unix seconds.

        Raises: SettingError for a name that is none; ConflictError if a good token has it.
        """
        _check_name(name)
        made = new_token()
        with self._store.write(durable=True) as db:
            if db.scalar(select(tokens.c.id).where(tokens.c.name == name, _good(at))) is not None:
                raise ConflictError(
                    f"There is a token `{name}` already.",
                    hint=f"Choose another name, or `tuneline token revoke {name}` first.",
                )
            db.execute(insert(tokens).values(**_row(name, made, at, read_only), expires_at=expires_at))
        return made

    def keep(self, name: str, token: str, at: float, *, read_only: bool = False) -> Kept:
        """Make `token`, which was made elsewhere (`new_token`), the good one called `name`, in one
        transaction; any other one of that name is revoked. What was revoked itself stays so.

        Raises: SettingError for a name or a token that is none; ConflictError if it is known by another name.
        """
        _check_name(name)
        if not is_token(token):
            raise SettingError(f"What is given for `{name}` is no token.", hint=f"{GENERATE} prints one.")
        row = _row(name, token, at, read_only)
        with self._store.write(durable=True) as db:
            found = db.execute(select(tokens).where(tokens.c.id == row["id"])).mappings().first()
            if found is not None and (found["name"], found["digest"]) != (name, row["digest"]):
                raise ConflictError(
                    f"The token given for `{name}` is known as `{found['name']}`, or was changed.",
                    hint=f"Every name has its own: {GENERATE} prints one.",
                )
            others = and_(tokens.c.name == name, tokens.c.id != row["id"], _good(at))
            if found is not None and found["revoked_at"] is not None:
                return "revoked"
            replaced = db.execute(update(tokens).where(others).values(revoked_at=at)).rowcount
            if found is None:
                db.execute(insert(tokens).values(**row))
                return "replaced" if replaced else "new"
            db.execute(update(tokens).where(tokens.c.id == row["id"]).values(read_only=row["read_only"]))
        return "kept"

    def check(self, token: str, at: float) -> Caller | None:
        """Who holds `token`; None if it is none of ours, has expired or was revoked."""
        shape = _SHAPE.fullmatch(token)
        if shape is None:
            return None
        id, secret = shape.groups()
        with self._store.read() as db:
            row = db.execute(select(tokens).where(tokens.c.id == id, _good(at))).mappings().first()
        # the same work for an unknown id, and a comparison that tells nothing by its time
        same = hmac.compare_digest(_digest(secret), row["digest"] if row else "-" * 64)
        if row is None or not same:
            return None
        if row["used_at"] is None or at - row["used_at"] > USED_S:
            with suppress(TunelineError), self._store.write() as db:  # a full disk must not lock people out
                db.execute(update(tokens).where(tokens.c.id == id).values(used_at=at))
        return Caller(row["name"], bool(row["read_only"]), row["expires_at"])

    def any(self, at: float) -> bool:
        """Whether there is a good token at all."""
        with self._store.read() as db:
            return db.scalar(select(tokens.c.id).where(_good(at)).limit(1)) is not None

    def all(self) -> Sequence[RowMapping]:
        """Rows of all tokens without their digests, the newest first."""
        shown = [column for column in tokens.c if column.name != "digest"]
        with self._store.read() as db:
            return db.execute(select(*shown).order_by(tokens.c.created_at.desc())).mappings().all()

    def revoke(self, name: str, at: float) -> None:
        """Make the good token `name` void, at once. Raises NotFoundError."""
        with self._store.write(durable=True) as db:
            done = db.execute(update(tokens).where(tokens.c.name == name, _good(at)).values(revoked_at=at))
            if done.rowcount:
                return
            names = db.scalars(select(tokens.c.name).where(_good(at)).order_by(tokens.c.name)).all()
        raise NotFoundError(
            f"There is no token `{name}` that could be revoked.",
            hint=f"Good tokens: {', '.join(names)}." if names else "There is no good token.",
        )


def new_token() -> str:
    """The text of a token that no record knows yet: an id, and 256 bits by chance."""
    return f"{PREFIX}{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}"


def is_token(text: str) -> bool:
    """Whether `text` has the form of a token."""
    return _SHAPE.fullmatch(text) is not None


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise SettingError(
            f"`{name}` cannot be a token's name.",
            hint="Up to 64 letters, digits, dots, dashes, underscores and @; a letter or digit first.",
        )


def _row(name: str, token: str, at: float, read_only: bool) -> dict[str, Any]:
    shape = _SHAPE.fullmatch(token)
    assert shape is not None
    id, secret = shape.groups()
    digest = _digest(secret)
    return {"id": id, "name": name, "digest": digest, "read_only": int(read_only), "created_at": at}


def _good(at: float) -> ColumnElement[bool]:
    return and_(tokens.c.revoked_at.is_(None), or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > at))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
