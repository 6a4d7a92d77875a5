"""Whether packages that are there meet what a component asks for."""

from pathlib import Path

import pytest

from tuneline.execute.images.requirements import Installed

HAVE = Installed(
    {
        "kfp": "2.17.0",
        "typing-extensions": "4.16.0",
        "flask": "3.0",
        "click": "8.1.8",
        "loop": "1",
        "odd": "?",
    },
    {
        "flask": ("click>=8", "asgiref>=3; extra == 'async'", "colorama; sys_platform == 'win32'"),
        "kfp": ("protobuf<7",),
        "loop": ("loop>=1",),
    },
    "3.11.7",
)


@pytest.mark.parametrize(
    "requirement, met",
    [
        ("click", True),
        ("Click >= 8.1, < 9", True),
        ("click==8.1.*", True),
        ("click>=9", False),
        ("typing_extensions>=4", True),
        ("pandas", False),
        ("pandas; python_version < '3.9'", True),
        ("pandas; python_version >= '3.9'", False),
        ("flask", True),
        ("flask[async]", False),
        ("loop", True),
        ("odd", True),
        ("odd>=1", False),
        ("git+https://github.com/kubeflow/pipelines", False),
        ("click @ https://files/click.whl", False),
        ("./click.whl", False),
        ("kfp==2.7.0", True),
        ("kfp===2.0.1", True),
        ("kfp==1.8.22", False),
        ("kfp>=2,<3", False),
        ("kfp[kubernetes]==2.17.0", False),
    ],
)
def test_requirements_are_met_as_pip_has_it(requirement: str, met: bool) -> None:
    assert HAVE.satisfies(requirement, no_deps=False) is met


def test_without_dependencies_only_the_package_itself_counts() -> None:
    assert HAVE.satisfies("kfp>=2,<3", no_deps=True)
    assert HAVE.satisfies("flask[async]", no_deps=True)


def test_packages_are_read_from_their_folder(tmp_path: Path) -> None:
    for folder, version in (("a", "2"), ("b", "1")):
        info = tmp_path / folder / f"My_Tool-{version}.dist-info"
        info.mkdir(parents=True)
        text = f"Metadata-Version: 2.1\nName: My_Tool\nVersion: {version}\nRequires-Dist: other>=1\n"
        (info / "METADATA").write_text(text)
    found = Installed.of([tmp_path / "a", tmp_path / "b"])
    assert (found.versions, found.needs) == ({"my-tool": "2"}, {"my-tool": ("other>=1",)})
