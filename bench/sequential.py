"""How often a rollout's tests are wrong and how soon they see, beside z tests at the end and at every look.

In each setting 10,000 rollouts of 5,000 requests at the border of each hypothesis, a look after every
request, alpha 0.05 for each side; 2,000 rollouts for power and for the z tests. It needs about two minutes
of one core. `--json` prints all numbers. docs/rollout-statistics.md has the results.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.plan.rollout_simulation import NEVER, STAGES, Setting, at_the_border, simulate, z_tests

ALPHA = 0.05
FEW = 5
"""Power and z tests are over a fifth of the rollouts."""
CURVE = (250, 500, 1000, 2000, 3000, 4000, 5000)
# (setting, margin, how much worse the candidate is that is to be rolled back)
SETTINGS = [
    (Setting("5/95", 0.02, stages=((1, 0.05),)), 0.05, 0.06),
    (Setting("10/90", 0.02, stages=((1, 0.10),)), 0.04, 0.05),
    (Setting("25/75", 0.02, stages=((1, 0.25),)), 0.03, 0.03),
    (Setting("50/50", 0.02), 0.02, 0.025),
    (Setting("50/50, rate 0.3", 0.3), 0.07, 0.07),
    (Setting("50/50, graded", 0.3, graded=True), 0.07, 0.07),
    (Setting("canary", 0.02, stages=STAGES), 0.03, 0.04),
    (Setting("5/95, bursts", 0.02, stages=((1, 0.05),), burst=0.2), 0.08, 0.10),
    (Setting("50/50, bursts", 0.02, burst=0.2), 0.04, 0.04),
    (Setting("canary, bursts", 0.02, stages=STAGES, burst=0.2, aligned=True), 0.06, 0.06),
    (Setting("25/75, 60% known, late", 0.2, stages=((1, 0.25),), reported=0.6, delay=400), 0.1, 0.1),
]  # fmt: skip
BROKEN = [
    (Setting("50/50, 500 sticky users, alike 0.1", 0.1, users=500, spread=0.1), 0.05, 0.08),
    (Setting("50/50, 100 sticky users, alike 0.1", 0.1, users=100, spread=0.1), 0.05, 0.08),
    (
        Setting("canary, 60% known, bad ones sooner", 0.2, 0, STAGES, reported=0.6, delay=400, hasty=True),
        0.1,
        0.1,
    ),
]
"""Shown, not claimed: requests of a user hang together; delays depend on the value while weights change."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print all numbers as JSON instead, curves too")
    parser.add_argument("--rollouts", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=5_000)
    options = parser.parse_args()
    begin = time.process_time()
    found = [
        measure(*case, rollouts=options.rollouts, requests=options.requests) | {"assumed": case not in BROKEN}
        for case in SETTINGS + BROKEN
    ]
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        print_table(found)
        print_curves(found, options.requests)
    wrong = [each for each in found if each["assumed"] and max(low(each, "p"), low(each, "r")) > ALPHA]
    said = f"EXCEEDED in {[each['setting']['name'] for each in wrong]}" if wrong else "kept"
    print(f"alpha is {said}; {time.process_time() - begin:.0f} s of processor time", file=sys.stderr)
    sys.exit(bool(wrong))


def measure(setting: Setting, margin: float, effect: float, rollouts: int, requests: int) -> dict[str, Any]:
    """All numbers of one setting."""
    worse, same = at_the_border(setting, margin)
    bad, few = replace(setting, effect=effect), rollouts // FEW
    firsts = {
        "error p": simulate(worse, margin, ALPHA, rollouts, requests, 1, "p").promoted,
        "error r": simulate(same, margin, ALPHA, rollouts, requests, 2, "r").rolled_back,
        "power p": simulate(same, margin, ALPHA, few, requests, 3, "p").promoted,
        "power r": simulate(bad, margin, ALPHA, few, requests, 4, "r").rolled_back,
    }
    z_worse, z_same, z_bad = (
        z_tests(each, margin, ALPHA, few, requests, seed) for seed, each in enumerate((worse, same, bad), 5)
    )
    firsts |= {"peeking error p": z_worse.peeking["p"], "peeking error r": z_same.peeking["r"]}
    return {
        "setting": asdict(setting),
        "margin": margin,
        "effect": effect,
        "shares": {name: share(first < NEVER) for name, first in firsts.items()}
        | {
            "z error p": share(z_worse.at_the_end["p"]),
            "z error r": share(z_same.at_the_end["r"]),
            "z power p": share(z_same.at_the_end["p"]),
            "z power r": share(z_bad.at_the_end["r"]),
        },
        "median": {
            side: int(np.median(first)) if np.median(first) < NEVER else None
            for side, first in (("p", firsts["power p"]), ("r", firsts["power r"]))
        },
        "curves": {name: [float((first <= at).mean()) for at in CURVE] for name, first in firsts.items()},
    }


def share(hits: np.ndarray) -> tuple[float, float, float]:
    """A share with its exact 95% interval (Clopper and Pearson)."""
    k, n = int(hits.sum()), len(hits)
    low_end = float(stats.beta.ppf(0.025, k, n - k + 1)) if k else 0.0
    high_end = float(stats.beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0
    return k / n, low_end, high_end


def low(each: dict[str, Any], side: str) -> float:
    return float(each["shares"][f"error {side}"][1])


def print_table(found: list[dict[str, Any]]) -> None:
    """One row a setting; `promote / rollback` in each cell."""
    print("| setting | margin, effect | error [95%] | power | median | z at end: error | power | peeking |")
    print("|---|---|---|---|---|---|---|---|")
    for each in found:
        s, median = each["shares"], each["median"]
        error = " / ".join("{:.4f} [{:.4f}, {:.4f}]".format(*s[f"error {side}"]) for side in "pr")
        power = " / ".join(f"{s[f'power {side}'][0]:.2f}" for side in "pr")
        of_z = [
            " / ".join(f"{s[f'{name} {side}'][0]:.3f}" for side in "pr") for name in ("z error", "z power")
        ]
        peeking = " / ".join(f"{s[f'peeking error {side}'][0]:.3f}" for side in "pr")
        print(
            f"| {each['setting']['name']} | {each['margin']}, {each['effect']} | {error} | {power} "
            f"| {median['p'] or '-'} / {median['r'] or '-'} | {of_z[0]} | {of_z[1]} | {peeking} |"
        )


def print_curves(found: list[dict[str, Any]], requests: int) -> None:
    """By requests: shares that had decided by then."""
    points = [number for number, at in enumerate(CURVE) if at <= requests]
    for name in ("error p", "error r", "peeking error r", "power p", "power r"):
        print(f"\n| {name}, by requests | " + " | ".join(f"{CURVE[at]:,}" for at in points) + " |")
        print("|---|" + "---|" * len(points))
        for each in found:
            row = " | ".join(f"{each['curves'][name][at]:.3f}" for at in points)
            print(f"| {each['setting']['name']} | {row} |")


if __name__ == "__main__":
    main()
