"""The trainer: the only layer, with one runtime, that imports torch. It runs in child processes alone."""

import os

# How long an OpenMP thread spins before it sleeps at a barrier. The default (300,000) is best alone, and
# hardly moves beside another busy process; 2,000 gives up a fifth alone (docs/benchmarks.md has the numbers).
# Read when torch loads the OpenMP library, so it is set before anything here imports torch; the environment's
# own value wins.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
