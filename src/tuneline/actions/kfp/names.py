"""What a name must be, and tags."""

from collections.abc import Mapping

from tuneline.errors import UserError

MAX_NAME = 128
MAX_TAGS, MAX_TAG = 20, 63


def checked_name(thing: str, name: str, most: int = MAX_NAME) -> str:
    """The name. Raises: UserError if it is empty or longer than `most` characters."""
    if not name.strip():
        raise UserError(f"{thing} name is empty. Please specify a valid name.")
    if len(name) > most:
        raise UserError(f"{thing}.Name length cannot exceed {most}; it has {len(name)} characters.")
    return name


def checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags. Raises: UserError for too many, an empty key, one with a dot, or one that is too long."""
    if len(tags) > MAX_TAGS:
        raise UserError(f"There can be {MAX_TAGS} tags at most; {len(tags)} were given.")
    for key, value in tags.items():
        if not key or len(key) > MAX_TAG or len(value) > MAX_TAG:
            raise UserError(
                f"Tag {key!r} must have a key of 1 to {MAX_TAG} characters, and a value of as many."
            )
        if "." in key:  # `tags.<key>` is how a filter names it
            raise UserError(f"Tag {key!r} has a dot in its key, which KFP does not take.")
    return dict(tags)
