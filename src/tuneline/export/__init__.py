"""The same pipeline as text for other engines."""
