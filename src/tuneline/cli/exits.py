"""Exit codes, as `docs/cli.md` lists them."""

OK = 0
FAILURE = 1
USAGE = 2
GATE_REFUSED = 3
APPROVAL_PENDING = 4
ROLLED_BACK = 5
NOTHING_TO_DO = 6
INTERRUPTED = 130
