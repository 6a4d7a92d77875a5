"""A task's files on this machine: the folder of an attempt, the executor's input and output, errors,
progress."""

from tuneline.execute.digests import digest_path, files_below, size_of

__all__ = ["digest_path", "files_below", "size_of"]
