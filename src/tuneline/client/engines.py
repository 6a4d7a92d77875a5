"""The APIs of other engines by name: each is a `plan.remote.Remote`."""

from collections.abc import Mapping

from tuneline.client.airflow import Airflow
from tuneline.client.kubeflow import Kubeflow
from tuneline.plan.engine import AIRFLOW, Engine
from tuneline.plan.remote import Remote


def open_engine(engine: Engine, login: Mapping[str, str]) -> Remote:
    """The API of an engine, for who has this login: `token`, or `user` and `password`."""
    if engine.kind == AIRFLOW:
        return Airflow(engine.url, engine.options, login)
    return Kubeflow(engine.url, engine.options, lambda: login.get("token", ""))
