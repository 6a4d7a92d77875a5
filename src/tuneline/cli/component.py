"""`tuneline component STEP`: our steps for pipelines written with Kubeflow's SDK."""

import click


@click.command()
@click.argument("step")
def component(step: str) -> None:
    """Print STEP of the line, or `app`, as YAML for `kfp.components.load_component_from_text`."""
    from tuneline.export.components import component_yaml  # noqa: PLC0415 - for this command alone

    click.echo(component_yaml(step), nl=False)
