"""How OpenMP's threads wait for each other, alone and where two programs share the cores.

    python bench/waiting.py [--steps 6]

The same training steps of a small Gemma (8 layers, 640 wide, 20,000 tokens) with all cores' threads: once by
OpenMP's own way, which waits busily, once by `OMP_WAIT_POLICY=PASSIVE`, as tuneline starts what serves.
Printed are milliseconds a step, of one program alone and of two at once, and the ratio. (Training sets a
spin count besides, which wins: docs/benchmarks.md.)
"""

import argparse
import os
import statistics
import subprocess
import sys

PROGRAM = """
import sys, time, torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig
shape = dict(vocab_size=20000, hidden_size=640, intermediate_size=2048, num_hidden_layers=8,
             num_attention_heads=4, num_key_value_heads=1, head_dim=256)
network = Gemma3ForCausalLM(Gemma3TextConfig(**shape))
optimizer = torch.optim.AdamW(network.parameters(), 1e-4)
ids = torch.randint(0, 20000, (8, 64))
def step():
    network(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
step()
print("ready", flush=True)
sys.stdin.readline()
began = time.perf_counter()
for _ in range(int(sys.argv[1])):
    step()
print((time.perf_counter() - began) / int(sys.argv[1]) * 1000, flush=True)
"""


def took(policy: str | None, programs: int, steps: int) -> float:
    """Milliseconds a step, the mean over programs that begin together. policy: None leaves OpenMP's own."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_WAIT", "GOMP_"))}
    env |= {"OMP_WAIT_POLICY": policy} if policy else {}
    command = [sys.executable, "-c", PROGRAM, str(steps)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    started = [subprocess.Popen(command, env=env, text=True, **pipes) for _ in range(programs)]
    for each in started:
        assert each.stdout.readline() == "ready\n"
    for each in started:
        each.stdin.write("go\n")
        each.stdin.flush()
    return statistics.mean(float(each.communicate()[0]) for each in started)


def main() -> int:
    """Print the table. Exit code 1 where two programs are slower by our way than by OpenMP's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=6)
    steps = parser.parse_args().steps
    ratio = 0.0
    for programs, name in ((1, "alone"), (2, "two at once")):
        own, ours = took(None, programs, steps), took("PASSIVE", programs, steps)
        ratio = own / ours
        print(f"{name:<12} OpenMP's own {own:7.0f} ms a step   PASSIVE {ours:7.0f} ms   ratio {ratio:.2f}")
    return 0 if ratio >= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
