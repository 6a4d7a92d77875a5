"""The operator's thin handlers."""
