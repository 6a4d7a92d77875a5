"""The images with today's code, in a registry: built on what `make images` prepared."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.deploy import images


class Pushed:
    """Builds and pushes an image when it is asked for, once."""

    def __init__(self, host: str, scratch: Path) -> None:
        self._host, self._scratch, self._places = host, scratch, dict[str, str]()

    def __getitem__(self, name: str) -> str:
        """From where it can be pulled, by digest: `docker://127.0.0.1:port/tuneline/server@sha256:...`."""
        if name not in self._places:
            folder = images.folder()
            store, context = images.Store(folder), self._scratch / name
            with images.alone(folder):
                store.build(name, images.context(context, folder / "wheels"))
                self._places[name] = store.push(name, self._host)
            shutil.rmtree(context)
        return self._places[name]


@pytest.fixture(scope="session")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushed]:
    """The images in a real registry."""
    why = images.missing()
    if why:
        pytest.skip(why)
    scratch = tmp_path_factory.mktemp("images")
    with images.registry(images.folder() / "registry", scratch) as host:
        yield Pushed(host, scratch)


@pytest.fixture
def pulled(tmp_path: Path) -> Iterator[images.Store]:
    """A store in which no image is yet; 2 GB that are not kept."""
    store = images.Store(tmp_path / "pulled")
    yield store
    store.buildah("rm", "--all")
    store.buildah("rmi", "--all", "--force")
    shutil.rmtree(store.root, ignore_errors=True)
