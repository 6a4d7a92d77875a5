"""`--runner`, `--url` and who one is there: from options and the environment to what the server is sent."""

import click
import pytest

from tuneline.cli.engines import engine
from tuneline.errors import SettingError

KFP = {"TUNELINE_KFP_URL": "http://kfp:8888/", "TUNELINE_KFP_TOKEN": "abc\n", "TUNELINE_AIRFLOW_TOKEN": "no"}


def test_this_machine_is_no_engine():
    assert engine("local", None, KFP) is None


def test_address_and_login_come_from_the_environment_and_the_option_wins():
    found = engine("kubeflow", None, KFP, experiment="mine", image=None)
    assert found == {
        "kind": "kubeflow", "url": "http://kfp:8888", "options": {"experiment": "mine"},
        "login": {"token": "abc"},
    }  # fmt: skip
    assert engine("kubeflow", "https://other", KFP)["url"] == "https://other"
    env = {"TUNELINE_AIRFLOW_USER": "ann", "TUNELINE_AIRFLOW_PASSWORD": "pw", "TUNELINE_KFP_TOKEN": "no"}
    assert engine("airflow", "http://a:8080", env)["login"] == {"user": "ann", "password": "pw"}


def test_without_an_address_the_variable_is_named():
    with pytest.raises(SettingError) as refused:
        engine("airflow", None, {})
    assert "TUNELINE_AIRFLOW_URL" in refused.value.hint


@pytest.mark.parametrize(
    ("runner", "url", "options", "said"),
    [
        ("local", "http://x", {}, "--url: not for --runner local"),
        ("local", None, {"root": "s3://x"}, "--root: not for --runner local"),
        (
            "airflow",
            "http://x",
            {"experiment": "e", "image": "i"},
            "--experiment, --image: not for --runner airflow",
        ),
        ("kubeflow", "http://x", {"dag": "d"}, "--dag: not for --runner kubeflow"),
    ],
)
def test_an_option_of_another_runner_is_refused(runner, url, options, said):
    with pytest.raises(click.UsageError, match=said):
        engine(runner, url, {}, **options)
