"""Tiny bases, made once a session: torch and transformers cost 3 s to import, a base 0.05 s to make."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.tiny import tiny_base


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The tiny base of a family, made when first asked for."""
    folder, made = tmp_path_factory.mktemp("bases"), {}

    def get(family: str) -> Path:
        if family not in made:
            made[family] = tiny_base(folder / family, family)
        return made[family]

    return get
