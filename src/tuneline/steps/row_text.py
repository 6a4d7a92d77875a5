"""A row's identity: its text normalised, and hashes of that. The same on every machine and with every
polars.

Normalised is: NFKC, casefold, runs of whitespace folded to one space, none at the ends. `normalise` is the
definition; `normalised` is the same for a column, by way of polars where text is plain ASCII (there NFKC does
nothing, and casefold is lower case). Unicode's stability policy keeps the normal form of every assigned
character for good.

    row   = first 16 bytes of sha256(input + "\\x1e" + answer), 32 hexadecimal digits where it is written
    input = XXH3-64 of input, seed 0; the side of the split hangs on it
    input, answer = normalised fields, joined with "\\x1f" (neither joint can be in normalised text)
"""

import unicodedata

import polars as pl
from polars_hash import CryptographicHashingNameSpace, NonCryptographicHashingNameSpace

_ODD = r"[^\x20-\x7e]|  |^ | $"  # whatever normalising changes, but for the case
_ASCII_SPACE = r"[\t\n\x0b\x0c\r\x1c-\x1f ]+"  # what str.split() takes for whitespace, as far as it is ASCII
FIELD, PART = "\x1f", "\x1e"


def normalise(text: str) -> str:
    """The normal form of one text."""
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())


def normalised(text: pl.Expr) -> pl.Expr:
    """The normal form of a text column."""
    return text.map_batches(_normalised, return_dtype=pl.String, is_elementwise=True)


def row_digest(text: pl.Expr) -> pl.Expr:
    """The first 16 bytes of the SHA-256 of a text column, as an array of UInt8."""
    return (
        CryptographicHashingNameSpace(text)
        .sha2_256()
        .str.slice(0, 32)
        .str.decode("hex")
        .bin.reinterpret(dtype=pl.Array(pl.UInt8, 16))
    )


def input_number(text: pl.Expr) -> pl.Expr:
    """The XXH3-64 of a text column."""
    return NonCryptographicHashingNameSpace(text).xxh3_64()


def _normalised(texts: pl.Series) -> pl.Series:
    lower = texts.str.to_lowercase()
    odd = texts.str.contains(_ODD).arg_true()
    return lower.scatter(odd, _odd(texts.gather(odd))) if len(odd) else lower


def _odd(texts: pl.Series) -> pl.Series:
    """Texts with other than plain characters, or with spaces to fold."""
    ascii_only = texts.str.len_bytes() == texts.str.len_chars()
    foreign = texts.filter(~ascii_only)
    plain = (
        texts.filter(ascii_only).str.replace_all(_ASCII_SPACE, " ").str.strip_chars(" ").str.to_lowercase()
    )
    found = texts.clone().scatter(ascii_only.arg_true(), plain) if len(plain) else texts
    return (
        found.scatter((~ascii_only).arg_true(), [normalise(text) for text in foreign])
        if len(foreign)
        else found
    )
