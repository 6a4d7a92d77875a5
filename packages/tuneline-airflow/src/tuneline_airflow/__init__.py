"""Compiled Kubeflow pipelines as Airflow DAGs. Imports Airflow, its Kubernetes provider, `tuneline_ir` and
the standard library alone."""
