"""What was asked: projects, presets and data sources as frozen values. No IO beyond reading a given text."""
