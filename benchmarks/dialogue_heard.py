"""Read the feelings in the words of the corpora, for the training of the bundled model's prefix.

    python benchmarks/dialogue_heard.py --data ROOT --out FILE
    attune train-dialogue --data ROOT --model FOLDER --heard FILE --out FOLDER

`dialogue` and `emotion` do not know each other, so what the recogniser reads in each turn that a
person tells goes by this file. It names texts by a digest of their words and repeats none of them.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
from tqdm import trange

from dialogue.affect import FEELINGS
from dialogue.data import Talk, read_felt
from dialogue.prefix_training import digest
from emotion import EMOTIONS
from emotion.checkpoint import bundled
from emotion.words import WordsModel
from integration.translation import FEELING_OF

BATCH = 64
EMOTION_OF = {feeling: emotion for emotion, feeling in FEELING_OF.items()}


def told(talks: list[Talk]) -> dict[str, str]:
    """Return digest → text of every turn of the tellers."""
    turns = (text for talk in talks for listens, text in talk.turns if not listens)
    return {digest(text): text for text in turns}


def main() -> None:
    """Read and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("ATTUNE_DATA"))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    texts = told([talk for part in ("train", "valid") for talk in read_felt(args.data, part)])
    order = [EMOTIONS.index(EMOTION_OF[feeling]) for feeling in FEELINGS]
    model = WordsModel.load(bundled("words"))
    by_length = sorted(texts, key=lambda name: len(texts[name]))  # a batch is padded to its longest
    heard: dict[str, list[float]] = {}
    for first in trange(0, len(texts), BATCH, mininterval=2):
        names = by_length[first : first + BATCH]
        rows = model.probabilities([texts[name] for name in names])[:, order]
        heard |= dict(zip(names, np.round(rows, 3).tolist(), strict=True))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(heard))
    print(f"Wrote what was heard in {len(heard)} turns to {args.out}.")


if __name__ == "__main__":
    main()
