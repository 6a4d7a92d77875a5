"""Which requirements are met by the packages of an environment, as pip would find them met."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

KFP = "kfp"


@dataclass(frozen=True)
class Installed:
    """The packages of an environment, by canonical name."""

    versions: Mapping[str, str] = field(default_factory=dict)
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What each of them requires."""
    python: str = ""
    """The version of the interpreter, for markers; empty: that of this process."""
    _asked: dict[tuple[str, bool], bool] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, folders: Sequence[Path], python: str = "") -> "Installed":
        """What lies in site-packages folders; the first one that has a package counts."""
        versions: dict[str, str] = {}
        needs: dict[str, tuple[str, ...]] = {}
        for found in metadata.distributions(path=[str(folder) for folder in folders]):
            name = canonicalize_name(found.metadata["Name"] or "")
            if name and name not in versions:
                versions[name] = found.version
                needs[name] = tuple(found.requires or ())
        return cls(versions, needs, python)

    def satisfies(self, requirement: str, *, no_deps: bool) -> bool:
        """Whether pip would have nothing to install.

        no_deps: whether what the package itself needs is left out of account. Any exact version 2.x of `kfp`
        is taken as met by the one that is there.
        """
        key = requirement, no_deps
        if key not in self._asked:
            try:
                self._asked[key] = self._met(Requirement(requirement), no_deps, "", set())
            except InvalidRequirement:  # a file or an URL
                self._asked[key] = False
        return self._asked[key]

    def _met(self, wanted: Requirement, no_deps: bool, extra: str, seen: set[str]) -> bool:
        if wanted.marker is not None and not wanted.marker.evaluate(self._environment(extra)):
            return True
        if wanted.url is not None:
            return False
        name = canonicalize_name(wanted.name)
        if name not in self.versions:
            return False
        if name == KFP and not wanted.extras and is_pinned_kfp(wanted):
            return True
        if not self._fits(wanted, self.versions[name]):
            return False
        key = f"{name}[{','.join(sorted(wanted.extras))}]"
        if no_deps or key in seen:
            return True
        seen.add(key)
        needs = [Requirement(need) for need in self.needs.get(name, ())]
        return all(self._met(need, False, extra, seen) for need in needs for extra in ("", *wanted.extras))

    def _fits(self, wanted: Requirement, version: str) -> bool:
        if not wanted.specifier:
            return True
        try:
            return wanted.specifier.contains(Version(version), prereleases=True)
        except InvalidVersion:
            return False

    def _environment(self, extra: str) -> dict[str, str]:
        found = {key: str(value) for key, value in default_environment().items()}
        if self.python:
            found["python_full_version"] = self.python
            found["python_version"] = ".".join(self.python.split(".")[:2])
        return {**found, "extra": extra}


def is_pinned_kfp(wanted: Requirement) -> bool:
    """Whether it is `kfp==2.x` exactly, which the task environment stands for."""
    if canonicalize_name(wanted.name) != KFP or len(wanted.specifier) != 1:
        return False
    (pin,) = wanted.specifier
    return pin.operator in ("==", "===") and pin.version.split(".")[0] == "2"
