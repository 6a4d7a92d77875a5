"""The trainer: the only layer, with one runtime, that imports torch. It runs in child processes alone."""
