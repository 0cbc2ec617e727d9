"""Does Muon earn its place? The first steps of the bundled model's training, with and without it.

    python benchmarks/dialogue_optimizer.py --data ROOT --cache FOLDER [--steps 90]

Both arms see the same rows and the same 30 steps of warm-up; AdamW alone gets the rate that is
usual for matrices of this size. Writes benchmarks/dialogue_optimizer.json.
"""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

import torch

from dialogue.learning import learn
from dialogue.training import Recipe, Run, prepare

ADAMW_MATRIX_RATE = 0.002


def adamw_alone(run: Run) -> None:
    """Give the matrices of a run that has not begun to AdamW."""
    matrices = run.optimizers[0].param_groups[0]["params"]
    run.optimizers[0] = torch.optim.AdamW(
        [{"params": matrices, "peak": ADAMW_MATRIX_RATE}],
        betas=(0.9, 0.95),
        weight_decay=run.recipe.weight_decay,
    )


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("ATTUNE_DATA"))
    parser.add_argument("--cache", type=Path, required=True, help="of prepared rows")
    parser.add_argument("--steps", type=int, default=90)
    args = parser.parse_args()
    recipe = replace(Recipe(), warm_up_steps=30)
    prepared = prepare(Path(args.data), args.cache, recipe)
    facts = {"steps": args.steps, "seed": recipe.seed, "validation_loss": {}}
    for name in ("muon", "adamw"):
        run = Run(prepared, recipe, args.cache)
        if name == "adamw":
            adamw_alone(run)
        learn(run, until_step=args.steps)
        facts["validation_loss"][name] = round(run.validation_loss(), 4)
        facts[f"{name}_seconds"] = round(run.seconds)
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(facts, indent=1) + "\n")
    print(path.read_text())


if __name__ == "__main__":
    main()
