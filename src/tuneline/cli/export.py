"""`tuneline export`: what a project becomes elsewhere, as files."""

from collections.abc import Mapping

import click

from tuneline.cli.main import LazyGroup

TABLE: Mapping[str, tuple[str, str, str]] = {
    "airflow": ("export_airflow", "airflow", "A DAG of Airflow: of a project, or of any compiled pipeline."),
}


@click.group(cls=LazyGroup, table=TABLE)
def export() -> None:
    """Write what a project becomes elsewhere, as files."""
