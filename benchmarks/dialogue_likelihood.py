"""How likely human replies are to the bundled model, told how the other feels in each way or not.

Perplexity of the listeners' replies in EmpatheticDialogues validation, per lower-cased NLTK token:
the sum of the model's surprise over all its subwords and the end of the turn, divided by the number
of tokens that `nltk.tokenize.NLTKWordTokenizer` finds in the lower-cased reply (punctuation counts)
plus one for the end of the turn. There is no unknown token. Replies are spelt by
`dialogue.text.tidy` first, as everything the model reads, and each talk is read whole.

    python benchmarks/dialogue_likelihood.py --data ROOT [--talks N]

The arms are the ways an affect is told (`dialogue.prefix_training.ARMS`); a live talk has the
prefix, and the note where the weights have none. `right` is the conversation's annotated emotion,
`shuffled` another conversation's, `words` what `emotion.EmotionRecognizer.recognize_words` reads in
each turn by itself. Intervals are of a bootstrap that draws whole talks. Writes
benchmarks/dialogue_likelihood.json.
"""

import argparse
import hashlib
import json
import math
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from dialogue.affect import UserAffect
from dialogue.conditioning import condition, short_note
from dialogue.conversation import Message
from dialogue.data import Source, Talk, read_source
from dialogue.empathy.metrics import card_tokens
from dialogue.models.bundled import WEIGHTS, BundledModel
from dialogue.prefix import EmotionPrefix
from dialogue.prefix_training import ARMS, TOLD_CONFIDENCE, Exercise, affect_of, exercise
from emotion import EMOTIONS, EmotionRecognizer
from integration.translation import FEELING_OF

TOLD = {
    "none": ("none", "right"),
    "right": ("prefix", "right"),
    "shuffled": ("prefix", "shuffled"),
    "words": ("prefix", "words"),
    "right note": ("note", "right"),
    "right both": ("both", "right"),
    "words note": ("note", "words"),
    "words both": ("both", "words"),
}
"""What is measured → (arm, whose affect)."""
TOLD_BY_NOTE = {
    name: (arm.replace("prefix", "note"), whose)
    for name, (arm, whose) in TOLD.items()
    if " " not in name
}
"""The same of weights without a prefix."""
COMPARED = (
    ("right", "none"),
    ("right", "shuffled"),
    ("words", "none"),
    ("right note", "none"),
    ("right both", "none"),
    ("right", "right note"),
    ("words note", "none"),
    ("words both", "none"),
    ("words", "words note"),
)
BATCH = 16
DRAWS = 2000


Reader = Callable[[str], UserAffect]


def words_reader() -> Reader:
    """Read an affect in words alone."""
    recognizer = EmotionRecognizer.from_pretrained(device="cpu")
    feelings = [FEELING_OF[emotion] for emotion in EMOTIONS]

    def read(text: str) -> UserAffect:
        probabilities = recognizer.recognize_words(text).tolist()
        return affect_of(dict(zip(feelings, probabilities, strict=True)))

    return read


def affects(talks: Sequence[Talk], read: Reader) -> dict[str, list[list[UserAffect]]]:
    """Return for each source, talk and turn how the teller seems to feel."""
    right = [
        UserAffect(talk.feeling[0], confidence=TOLD_CONFIDENCE[talk.feeling[1]]) for talk in talks
    ]
    shuffled = random.Random(0).sample(right, len(right))
    return {
        "right": [[a] * len(t.turns) for a, t in zip(right, talks, strict=True)],
        "shuffled": [[a] * len(t.turns) for a, t in zip(shuffled, talks, strict=True)],
        "words": [[read(text) for _, text in talk.turns] for talk in tqdm(talks, desc="words")],
    }


def row(
    tokenizer: object, talk: Talk, shown: Sequence[UserAffect], arm: str, tokens: int
) -> Exercise:
    """Write one talk for one arm."""
    messages = [
        Message("assistant", text) if listens else Message("user", text, affect)
        for (listens, text), affect in zip(talk.turns, shown, strict=True)
    ]
    while messages[-1].role == "user":
        messages.pop()  # nobody answers it
    noted, prefixed = ARMS[arm]
    if noted:
        messages = condition(messages, write=short_note)
    return exercise(tokenizer, messages, tokens if prefixed else 0)


@torch.inference_mode()
def nats(model: object, prefix: EmotionPrefix | None, rows: Sequence[Exercise]) -> Tensor:
    """Sum the surprise of each row's marked tokens, (row,), in nats."""
    longest = max(len(r.ids) for r in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    learned = torch.zeros(len(rows), longest, dtype=torch.bool)
    for number, r in enumerate(rows):
        ids[number, : len(r.ids)], learned[number, : len(r.ids)] = r.ids, r.learned
    words = model.get_input_embeddings()
    embedded = words(ids) if prefix is None else prefix.embed(words, ids)
    hidden = model.model(inputs_embeds=embedded[:, :-1]).last_hidden_state
    chosen = learned[:, 1:]
    logits = model.lm_head(hidden[chosen])
    each = torch.nn.functional.cross_entropy(logits, ids[:, 1:][chosen], reduction="none")
    summed = torch.zeros(len(rows), dtype=torch.float64)
    return summed.index_add(0, chosen.nonzero()[:, 0], each.double())


def measure(
    model: object,
    tokenizer: object,
    prefix: EmotionPrefix | None,
    talks: Sequence[Talk],
    read: Reader,
) -> dict[str, Tensor]:
    """Return for each of TOLD the surprise of each talk's replies, (talk,)."""
    shown = affects(talks, read)
    told = TOLD if prefix else TOLD_BY_NOTE
    by_length = sorted(range(len(talks)), key=lambda n: sum(len(t) for _, t in talks[n].turns))
    found = {name: torch.zeros(len(talks), dtype=torch.float64) for name in told}
    for first in tqdm(range(0, len(talks), BATCH), desc="talks", unit="batch", mininterval=5):
        batch = by_length[first : first + BATCH]
        for name, (arm, whose) in told.items():
            tokens = prefix.shape.tokens if prefix else 0
            rows = [row(tokenizer, talks[n], shown[whose][n], arm, tokens) for n in batch]
            found[name][batch] = nats(model, prefix, rows)
    return found


def sizes(talks: Sequence[Talk]) -> tuple[Tensor, int, int]:
    """Return replies of each talk, (talk,), and all their tokens and bytes."""
    replies = [[text for listens, text in talk.turns[1:] if listens] for talk in talks]
    tokens = sum(card_tokens(text) for texts in replies for text in texts)
    letters = sum(len(text.encode()) for texts in replies for text in texts)
    return torch.tensor([len(texts) for texts in replies]).double(), tokens, letters


def saved(arm: Tensor, other: Tensor, replies: Tensor) -> dict[str, object]:
    """Nats a reply saved against another arm: mean, and 95 % interval of a paired bootstrap."""
    gains = other - arm
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(len(gains), (DRAWS, len(gains)), generator=generator)
    means = (gains[drawn].sum(1) / replies[drawn].sum(1)).sort().values
    cut = round(0.025 * DRAWS)
    interval = [round(float(means[i]), 4) for i in (cut, DRAWS - 1 - cut)]
    return {"mean": round(float(gains.sum() / replies.sum()), 4), "interval_95": interval}


def validation(data: Path, most: int | None) -> list[Talk]:
    """Read the talks, or a random part of them, in which the teller begins and is answered."""
    talks = read_source(data, Source("empathetic_dialogues", 2), "valid")
    kept = [t for t in talks if not t.turns[0][0] and any(listens for listens, _ in t.turns[1:])]
    return random.Random(0).sample(kept, min(len(kept), most or len(kept)))


def facts_of(found: dict[str, Tensor], talks: Sequence[Talk]) -> dict[str, object]:
    """Sum up what was measured."""
    replies, tokens, letters = sizes(talks)
    bits = {name: float(v.sum()) / math.log(2) / letters for name, v in found.items()}
    return {
        "replies": int(replies.sum()),
        "tokens": tokens,
        "perplexity": {n: round(math.exp(float(v.sum()) / tokens), 2) for n, v in found.items()},
        "bits_per_byte": {name: round(value, 4) for name, value in bits.items()},
        "nats_a_reply_saved": {
            f"{arm} against {other}": saved(found[arm], found[other], replies)
            for arm, other in COMPARED
            if arm in found and other in found
        },
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("ATTUNE_DATA"))
    parser.add_argument("--talks", type=int, default=None, help="a random part of them")
    args = parser.parse_args()
    torch.set_num_threads(1)
    talks = validation(args.data, args.talks)
    bundled = BundledModel.load(device="cpu", seed=0)
    found = measure(bundled._model, bundled._tokenizer, bundled._prefix, talks, words_reader())
    digest = hashlib.sha256((WEIGHTS / "model.safetensors").read_bytes()).hexdigest()
    path = Path(__file__).with_suffix(".json")
    path.write_text(
        json.dumps({"weights_sha256": digest, **facts_of(found, talks)}, indent=1) + "\n"
    )
    print(path.read_text())


if __name__ == "__main__":
    main()
