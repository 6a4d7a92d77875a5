"""`tuneline export`: what a project becomes elsewhere, as files."""

from collections.abc import Mapping

import click

from tuneline.cli.main import LazyGroup

TABLE: Mapping[str, tuple[str, str, str]] = {
    "airflow": ("export_airflow", "airflow", "A DAG of Airflow: of a project, or of any compiled pipeline."),
    "kubernetes": ("export_kubernetes", "kubernetes", "An endpoint's manifests, for kubectl apply -k."),
    "training": ("export_training", "training", "A training on several machines, as a Job of Kubernetes."),
}


@click.group(cls=LazyGroup, table=TABLE)
def export() -> None:
    """Write what a project becomes elsewhere, as files."""
