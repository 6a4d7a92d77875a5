"""The APIs of other engines by name: what `plan.remote.Remote` is made of."""

from collections.abc import Mapping

from tuneline.client.kubeflow import Kubeflow
from tuneline.plan.remote import KUBEFLOW, Engine, Remote


def open_engine(engine: Engine, login: Mapping[str, str]) -> Remote:
    """The API of an engine, for who has this login: `token`, or `user` and `password`."""
    assert engine.kind == KUBEFLOW
    return Kubeflow(engine.url, engine.options, lambda: login.get("token", ""))
