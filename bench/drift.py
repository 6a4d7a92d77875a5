"""Drift detectors: false alarms without drift, power against stated drifts, and the time of one window.

`python bench/drift.py [--looks 2000] [--months 60] [--windows 40]`: simulates requests as `plan.samples`
gives them; the time of a look is that of real Parquet files. Every row is printed with an exact 95% interval.
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import beta

from tuneline.control import request_rows
from tuneline.plan.drift import chance_per_look, chance_per_test, judge
from tuneline.plan.drift_watch import chosen, one_a_session
from tuneline.plan.samples import Sample, sample
from tuneline.record.request_files import State, write_part, write_state
from tuneline.spec.sections import DETECTORS, Drift

RANKS = np.arange(1, 3001)
SHARES = (1 / RANKS) / (1 / RANKS).sum()  # Zipf's law, as words of a language have it
WORDS = np.array([f"w{rank}" for rank in RANKS])
FOREIGN = np.array([f"x{rank}" for rank in RANKS])


class Source:
    """Requests, one independent of the other unless `session` says otherwise."""

    def __init__(self, seed):
        self.chance = np.random.default_rng(seed)
        self.count = 0

    def draw(
        self,
        count,
        *,
        length=1.0,
        foreign=0.0,
        script=0.0,
        label=0.0,
        sure=0.0,
        liked=0.0,
        failed=0.0,
        session=1,
    ):
        """`count` requests. The rest is drift: `length` a factor, others shares or differences of shares.

        session: so many requests in a row have one prompt, answer and confidence.
        """
        chance, made = self.chance, []
        for _ in range(-(-count // session)):
            size = max(1, int(chance.lognormal(np.log(30 * length), 0.6)))
            source = FOREIGN if chance.random() < foreign else WORDS
            words = tuple(np.unique(chance.choice(source, min(size, 60), p=SHARES)))
            self.count += 1
            one = Sample(
                f"r{self.count}", float(self.count), bool(chance.random() < 0.01 + failed), known=True,
                prompt_length=size * 6, script="cyrillic" if chance.random() < 0.03 + script else "latin",
                words=words, numbers={"age": chance.normal(), "size": chance.exponential()},
                label="positive" if chance.random() < 0.6 + label else "negative",
                output_number=chance.normal(), output_length=int(chance.integers(5, 9)),
                confidence=float(chance.beta(8, 2 + sure)),
                feedback=float(chance.random() < 0.8 - liked) if chance.random() < 0.3 else None,
            )  # fmt: skip
            made += [replace(one, id=f"{one.id}-{n}") for n in range(session)]
        return made[:count]


class Light:
    """What `one_a_session` needs of a request."""

    def __init__(self, one):
        self.one, self.id, self.session = one, one.id, one.id.split("-")[0]


def apart(samples):
    """One of each session."""
    return [each.one for each in one_a_session([Light(one) for one in samples])]


def interval(hits, of):
    """Clopper and Pearson's 95% interval of a share."""
    low = beta.ppf(0.025, hits, of - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, of - hits) if hits < of else 1.0
    return low, high


def row(what, hits, of, stated=""):
    low, high = interval(hits, of)
    print(f"| {what} | {stated} | {hits} of {of} | {hits / of:.4f} | {low:.4f} to {high:.4f} |", flush=True)


def alarms(found):
    return any(each.drifted for each in found)


def looks(windows, alpha, window=200, **more):
    """How many of so many looks, each with a reference of its own, say drift."""
    thin, hits = more.pop("thin", False), 0
    for seed in range(windows):
        source = Source(seed)
        reference, drawn = source.draw(2 * window, **more), source.draw(window, **more)
        if thin:
            reference, drawn = apart(reference), apart(drawn)
        hits += alarms(judge(reference, drawn, DETECTORS, alpha / len(DETECTORS)))
    return hits


def months(count, settings, window):
    """How many of so many months of looks at one reference have an alarm."""
    hits, n = 0, round(30 * 86_400 / settings.every_s)
    for seed in range(count):
        source = Source(10_000 + seed)
        reference = source.draw(2 * window)
        hits += any(
            alarms(judge(reference, source.draw(window), settings.detectors, chance_per_test(settings)))
            for _ in range(n)
        )
    return hits


DRIFTS = {
    "prompts 10% longer": ({"length": 1.1}, "prompt_length"),
    "prompts 25% longer": ({"length": 1.25}, "prompt_length"),
    "5% of prompts with other words": ({"foreign": 0.05}, "prompt_new_words"),
    "10% of prompts with other words": ({"foreign": 0.10}, "prompt_new_words"),
    "20% of prompts with other words": ({"foreign": 0.20}, "prompt_words"),
    "another script: 3% to 8%": ({"script": 0.05}, "prompt_script"),
    "one label: 60% to 70%": ({"label": 0.10}, "output_label"),
    "one label: 60% to 75%": ({"label": 0.15}, "output_label"),
    "confidence: mean 0.80 to 0.73": ({"sure": 1.0}, "confidence"),
    "good feedback (of 30%): 80% to 65%": ({"liked": 0.15}, "feedback"),
    "errors: 1% to 4%": ({"failed": 0.03}, "errors"),
}


def power(windows, settings):
    for what, (drift, detector) in DRIFTS.items():
        any_hits = hits = 0
        for seed in range(windows):
            source = Source(50_000 + seed)
            reference = source.draw(2 * settings.window)
            found = judge(
                reference,
                source.draw(settings.window, **drift),
                settings.detectors,
                chance_per_test(settings),
            )
            any_hits += alarms(found)
            hits += any(each.drifted for each in found if each.detector == detector)
        low, high = interval(hits, windows)
        print(
            f"| {what} | {detector} | {hits / windows:.2f} ({low:.2f} to {high:.2f}) "
            f"| {any_hits / windows:.2f} |",
            flush=True,
        )


def seconds(window):
    """Processor time of judging one window, and of reading as many bodies."""
    source = Source(1)
    reference, drawn = source.draw(2 * window), source.draw(window)
    begun = time.process_time()
    judge(reference, drawn, DETECTORS, 1e-5)
    judged = time.process_time() - begun
    body = json.dumps({"messages": [{"role": "user", "content": " ".join(WORDS[:60])}]})
    answer = '{"choices": [{"index": 0, "message": {"role": "assistant", "content": " positive"}}]}'
    line = {
        "id": "r",
        "at": 1.0,
        "path": "/v1/chat/completions",
        "status": 200,
        "request": body,
        "response": answer,
    }
    begun = time.process_time()
    for _ in range(window):
        sample(line)
    return judged, time.process_time() - begun


def look(window, others):
    """Processor time of one look from Parquet files: `window` requests of `window + others`."""
    body = json.dumps({"messages": [{"role": "user", "content": " ".join(WORDS[:60])}]})
    answer = '{"choices": [{"index": 0, "message": {"role": "assistant", "content": " positive"}}]}'
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home, "requests")
        for part in range(10):
            size = (window + others) // 10
            frame = pl.DataFrame({"n": range(part * size, part * size + size)})
            lines = frame.select(
                at=pl.col("n") / 10 + 1, id=pl.format("q{}", "n"), release=pl.lit("m@1.0.0"),
                method=pl.lit("POST"), sticky=pl.lit(""), path=pl.lit("/v1/chat/completions"),
                status=200, request=pl.lit(body), response=pl.lit(answer),
            )  # fmt: skip
            write_part(folder, "1970-01-01", (part, part), lines, 1)
        write_state(folder, State(10))
        reference = Source(1).draw(2 * window)
        begun = time.process_time()
        found = request_rows.lines(Path(home), "m@1.0.0", 0.0, 80_000.0)
        taken = request_rows.rows(Path(home), chosen(one_a_session(found.lines), window))
        judge(reference, [sample(row) for row in taken], DETECTORS, 1e-5)
        return time.process_time() - begun


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--looks", type=int, default=2000)
    options.add_argument("--months", type=int, default=60)
    options.add_argument("--windows", type=int, default=40)
    given = options.parse_args()
    settings = Drift()
    print(
        f"stated: {settings.alpha} in 30 days, {chance_per_look(settings):.2e} a look,"
        f" {chance_per_test(settings):.2e} a test\n"
    )
    print("| no drift | stated | alarms | rate | 95% interval |\n|---|---|---|---|---|")
    for alpha in (0.05, 0.01):
        row("one look, a reference each", looks(given.looks, alpha), given.looks, str(alpha))
    few = replace(settings, every_s=21_600.0)
    row("a month of looks every 6 h at one reference", months(given.months, few, 100), given.months, "0.05")
    some = 300
    row(
        "sessions of 5 equal requests, told apart (1 counts)",
        looks(some, 0.05, window=500, session=5, thin=True),
        some,
        "0.05",
    )
    row("sessions of 5 equal requests, without a session key", looks(some, 0.05, session=5), some, "0.05")
    print("\n| drift | its detector | power | any detector |\n|---|---|---|---|")
    power(given.windows, settings)
    for window in (1000, 10_000):
        judged, read = seconds(window)
        for others in (0, 190_000):
            print(f"\nlook: {window} of {window + others} requests in Parquet: {look(window, others):.2f} s")
        print(
            f"\nwindow {window}: judged in {judged:.2f} s against {2 * window}, bodies read in {read:.2f} s"
        )


if __name__ == "__main__":
    main()
