"""Kubeflow Pipelines IR, read: parsing, placeholders and conditions. Standard library and PyYAML alone."""
