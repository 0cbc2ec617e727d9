"""What the note and the prefix are worth to the bundled model: none, note, prefix, both.

Perplexity of the listeners' replies in EmpatheticDialogues validation per lower-cased NLTK token,
counted as in `dialogue_likelihood.py`. The affect is drawn as a calibrated recogniser might report
the conversation's emotion (`dialogue.prefix_training.draw_affect`), the same for every arm.

    python benchmarks/dialogue_prefix.py --data ROOT --prefix FOLDER [--replies N] [--out FILE]

FOLDER is what `attune train-dialogue --prefix-only --model dialogue/weights` wrote.
"""

import argparse
import json
import math
import os
import random
from dataclasses import replace
from pathlib import Path

import torch
from nltk.tokenize import NLTKWordTokenizer
from torch import Tensor
from tqdm import tqdm

from dialogue.conditioning import condition, short_note
from dialogue.conversation import Message
from dialogue.data import Source, Talk, read_source
from dialogue.models.bundled import BundledModel
from dialogue.models.local import encode
from dialogue.prefix import EmotionPrefix, fingerprint, turn_starts, weave
from dialogue.prefix_training import draw_affect
from dialogue.text import tidy

ARMS = {
    "none": (False, False),
    "note": (True, False),
    "prefix": (False, True),
    "both": (True, True),
}
DRAWS = 2000


def replies(data: Path, generator: torch.Generator) -> list[tuple[list[Message], str]]:
    """Return (talk so far, human reply) of every listener's turn, with drawn affects."""
    found = []
    for talk in read_source(data, Source("empathetic_dialogues", 2), "valid"):
        messages = _messages(talk, generator)
        found += [
            (messages[:cut], text)
            for cut, (listens, text) in enumerate(talk.turns)
            if listens and cut > 0
        ]
    return found


def _messages(talk: Talk, generator: torch.Generator) -> list[Message]:
    return [
        Message("assistant", text)
        if listens
        else Message("user", text, draw_affect(*talk.feeling, generator))
        for listens, text in talk.turns
    ]


def prompt(model: BundledModel, messages: list[Message], arm: str, tokens: int) -> Tensor:
    """Write a talk for one arm, (1, position)."""
    noted, prefixed = ARMS[arm]
    spelt = [replace(m, content=tidy(m.content)) for m in messages]
    shown = condition(spelt, write=short_note) if noted else spelt
    ids = encode(model._tokenizer, shown)[0]
    if prefixed:
        affects = [m.affect for m in shown if m.role == "user"]
        ids = weave(ids, turn_starts(model._tokenizer, shown, ids), affects, tokens)
    return ids[None]


@torch.inference_mode()
def nats(model: BundledModel, prefix: EmotionPrefix, before: Tensor, reply: str) -> float:
    """Sum of the surprise of a reply and its end, in nats."""
    ids = model._tokenizer.encode(reply, add_special_tokens=False)
    ids = torch.tensor([[*ids, model._tokenizer.eos_token_id]])
    words = model._model.get_input_embeddings()
    embedded = prefix.embed(words, torch.cat([before, ids], 1))
    logits = model._model(inputs_embeds=embedded).logits[0, before.shape[1] - 1 : -1]
    return float(-logits.log_softmax(-1).gather(1, ids[0, :, None]).sum())


def saved(arm: list[float], none: list[float]) -> dict[str, object]:
    """Nats a reply saved against no feeling: mean, and 95 % interval of a paired bootstrap."""
    gains = torch.tensor(none) - torch.tensor(arm)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(len(gains), (DRAWS, len(gains)), generator=generator)
    means = gains[drawn].mean(1).sort().values
    cut = round(0.025 * DRAWS)
    interval = [round(float(means[i]), 4) for i in (cut, DRAWS - 1 - cut)]
    return {"mean": round(float(gains.mean()), 4), "interval_95": interval}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("ATTUNE_DATA"))
    parser.add_argument("--prefix", type=Path, required=True)
    parser.add_argument("--replies", type=int, default=None, help="a random part of them")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    all_ = replies(args.data, torch.Generator().manual_seed(0))
    chosen = random.Random(0).sample(all_, min(len(all_), args.replies or len(all_)))
    model = BundledModel.load(device="cpu", seed=0)
    prefix = EmotionPrefix.load(args.prefix, model._model)
    arms: dict[str, list[float]] = {arm: [] for arm in ARMS}
    tokens = 0
    for messages, reply in tqdm(chosen):
        tokens += len(NLTKWordTokenizer().tokenize(reply.lower())) + 1
        for arm, surprise in arms.items():
            before = prompt(model, messages, arm, prefix.shape.tokens)
            surprise.append(nats(model, prefix, before, reply))
    facts = {
        "model_fingerprint": fingerprint(model._model),
        "replies": len(chosen),
        "tokens": tokens,
        "perplexity": {a: round(math.exp(sum(v) / tokens), 2) for a, v in arms.items()},
        "nats_a_reply_saved_against_none": {
            arm: saved(arms[arm], arms["none"]) for arm in ("note", "prefix", "both")
        },
        "nats_a_reply_saved_by_both_against_note": saved(arms["both"], arms["note"]),
    }
    args.out.write_text(json.dumps(facts, indent=1) + "\n")
    print(args.out.read_text())


if __name__ == "__main__":
    main()
