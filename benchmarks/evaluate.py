"""The committed reports of `attune evaluate`: the bundled model on both sets, and a picture of one.

    python benchmarks/evaluate.py --data ROOT [--limit N]

Runs, on one thread,

    attune evaluate --device cpu --out runs/evaluate/builtin
    attune evaluate --device cpu --out runs/evaluate/empathetic-dialogues --omit-texts
        --conversations empathetic-dialogues --data ROOT --limit N

and copies report.html, report.md, report.json and replies.jsonl of each to benchmarks/evaluate/, of
the corpus without a word of it. The journals stay in runs/, so a run that was killed goes on. The
picture is the top of the first page in headless Chromium, 1200 pixels wide and as wide as a
telephone. The decoding settings of the bundled model were chosen on 500 contexts of the corpus'
validation part, without comparing arms (`benchmarks/dialogue_replies.py`).
"""

import argparse
import io
import os
import shutil
import sys
from pathlib import Path

import torch

from ui.cli import main as attune

HERE = Path(__file__).parent / "evaluate"
RUNS = Path("runs/evaluate")
KEPT = ("report.html", "report.md", "report.json", "replies.jsonl")
PHONE_WIDTH, DESK_WIDTH, HEIGHT = 390, 1200, 1100
GAP = 24


def evaluate(name: str, *more: str) -> None:
    """Run the command and keep its report."""
    code = attune(["evaluate", "--device", "cpu", "--out", str(RUNS / name), *more])
    if code:
        sys.exit(code)
    (HERE / name).mkdir(parents=True, exist_ok=True)
    for file in KEPT:
        shutil.copy(RUNS / name / file, HERE / name / file)


def picture(page: Path, to: Path) -> None:
    """Take the top of a page, light on a desk and dark on a telephone, side by side."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    shots = []
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for width, scheme in ((DESK_WIDTH, "light"), (PHONE_WIDTH, "dark")):
            tab = browser.new_page(viewport={"width": width, "height": HEIGHT}, color_scheme=scheme)
            tab.goto(page.resolve().as_uri())
            shots.append(Image.open(io.BytesIO(tab.screenshot())))
        browser.close()
    whole = Image.new("RGB", (DESK_WIDTH + GAP + PHONE_WIDTH, HEIGHT), "white")
    whole.paste(shots[0], (0, 0))
    whole.paste(shots[1], (DESK_WIDTH + GAP, 0))
    whole.quantize(64).save(to, optimize=True)


def main() -> None:
    """Evaluate on both sets, and take the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("ATTUNE_DATA"), required=False)
    parser.add_argument("--limit", type=int, default=600, help="dialogues of the corpus")
    parser.add_argument("--picture-only", metavar="PAGE", type=Path, help="of this report")
    args = parser.parse_args()
    HERE.mkdir(exist_ok=True)
    if args.picture_only is None:
        torch.set_num_threads(1)
        evaluate("builtin")
        corpus = ("--conversations", "empathetic-dialogues", "--data", str(args.data))
        evaluate("empathetic-dialogues", *corpus, "--limit", str(args.limit), "--omit-texts")
    picture(args.picture_only or HERE / "builtin" / "report.html", HERE / "screenshot.png")


if __name__ == "__main__":
    main()
