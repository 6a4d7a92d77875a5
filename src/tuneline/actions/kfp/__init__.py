"""What Kubeflow Pipelines' API can do, as methods: `platform.kfp`. No HTTP, no SQL."""

from tuneline.actions.kfp.door import Kfp

__all__ = ["Kfp"]
