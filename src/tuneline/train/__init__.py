"""The trainer: the only layer, with one runtime, that imports torch. It runs in child processes alone."""

import os

# torch's threads meet thousands of times a step and by default spin while they wait: beside any other busy
# process that makes
# a step thirty times slower. Read by the OpenMP library when torch loads it, so it is set before anything
# here imports torch.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
