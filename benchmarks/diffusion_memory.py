"""Memory of a denoiser's training data: every level of every picture kept, as the reports do, or drawn on the fly.

Each side runs in a process of its own, whose peak is measured. The reports' side is measured at a few hundred pictures
and reckoned for all: it grows in a line with them. Shen's process needs its autoencoder trained.
"""

import argparse
import os
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from input import print_row

ALL, LEVELS, SIDE = 6149, 20, 96
RUNS = ("hughes-diffusion", "shen-diffusion", "keras-diffusion", "ours-diffusion")
MEASURED = (250, 500)
AIM_RATIO, AIM_GIB = 100, 2
# Peak of this process alone: on Linux ru_maxrss begins with that of the parent.
PEAK = "print('PEAK', next(int(l.split()[1]) * 1024 for l in open('/proc/self/status') if l[:5] == 'VmHWM'))"
KEPT = f"""
import numpy as np
from flowerlib import processes
random = np.random.default_rng(0)
noisy = np.empty(({{count}} * {LEVELS}, {SIDE}, {SIDE}, 3), np.float32)
clean = np.empty_like(noisy)
for number in range({{count}}):
    chain = processes.hughes_levels(random.random(({SIDE}, {SIDE}, 3), dtype=np.float32), random)
    noisy[{LEVELS} * number : {LEVELS} * (number + 1)] = chain[1:]
    clean[{LEVELS} * number : {LEVELS} * (number + 1)] = chain[:-1]
{PEAK}
"""
DRAWN = f"""
import numpy as np
from flowerlib import processes
random = np.random.default_rng(0)
for number in range({{count}}):
    chain = processes.hughes_levels(random.random(({SIDE}, {SIDE}, 3), dtype=np.float32), random)
    noisy, clean = chain[1:], chain[:-1]
{PEAK}
"""
BARE = f"import numpy as np\nfrom flowerlib import processes\n{PEAK}"
RUN = "{run}@budget.minutes=null@budget.steps={steps}@seed=987654"
TRAINING = """
from flowerlib import generated, recipes, data, splits
recipe = recipes.load("{run}", "{profile}")
dataset = data.load(recipe.data.name, recipe.data.size_px, recipe.data.resize, quiet=True)
split = splits.make(recipe.data.split, recipe.data.labels, dataset.fine, dataset.sets, recipe.seed)
generator = generated.build(recipe, dataset, split)
batch = generated.batches(generator, dataset, split)
from flowerlib import budget
import numpy as np
budget.compile_for(generator.model, recipe.budget)
for step in range({steps}):
    generator.model.train_on_batch(*batch(np.random.default_rng(step)))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the memory of a denoiser's training data.")
    parser.add_argument("--profile", choices=["laptop", "smoke"], default="laptop", help="laptop needs the photographs")
    parser.add_argument("--runs", nargs="*", default=RUNS)
    parser.add_argument("--steps", type=int, default=5, help="of each training (default 5)")
    options = parser.parse_args()
    bare = peak(BARE)
    kept = [peak(KEPT.format(count=count)) - bare for count in MEASURED]
    drawn = peak(DRAWN.format(count=MEASURED[1])) - bare
    each = (kept[1] - kept[0]) / (MEASURED[1] - MEASURED[0])
    whole = kept[1] + each * (ALL - MEASURED[1])
    for count, found in zip(MEASURED, kept, strict=True):
        print_row(f"kept, {count} pictures", f"{found / 2**30:.2f} GiB", f"{LEVELS} levels of {SIDE} px, measured")
    print_row(f"kept, {ALL:,} pictures", f"{whole / 2**30:.1f} GiB", "reckoned from these")
    print_row("drawn on the fly", f"{drawn / 2**20:.1f} MiB", "whatever the number of pictures; measured")
    ratio = whole / max(drawn, 1)
    print_row("ratio", f"{ratio:,.0f}", f"aim {AIM_RATIO} or more{': missed' * (ratio < AIM_RATIO)}")
    for run in options.runs:
        name = RUN.format(run=run, steps=options.steps)
        program = TRAINING.format(run=name, steps=options.steps, profile=options.profile)
        found = peak(program + PEAK) / 2**30
        said = f"the whole process; aim {AIM_GIB} GiB or less{': missed' * (found > AIM_GIB)}"
        print_row(f"training {run}", f"{found:.2f} GiB", said)


def peak(program: str) -> int:
    """The most bytes that a fresh Python held while it ran a program."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"diffusion_memory.py: {done.stderr.strip().splitlines()[-1]}")
    return int(next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("PEAK")))


if __name__ == "__main__":
    main()
