"""Files that a source gave, put where a task needs them: linked if they are ours, else copied and checked."""

import errno
import os
import shutil
from pathlib import Path

from tuneline.errors import DataError
from tuneline.steps.downloads import digest_file
from tuneline.steps.sources import Found


def place(file: Found, target: Path) -> None:
    """Link a file of ours, copy anyone else's. Raises DataError if it changed since it was looked at."""
    if file.ours:
        try:
            os.link(file.path, target)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES):
                raise
        else:
            return
    shutil.copyfile(file.path, target)
    if digest_file(target)[0] != file.digest:
        raise DataError(
            f"{file.path} changed while it was being read.", hint="Run it again when it is written."
        )
