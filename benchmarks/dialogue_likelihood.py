"""How likely human replies are to the bundled model, with and without the right feeling.

Perplexity of the listeners' replies in EmpatheticDialogues validation, per lower-cased NLTK token:
the sum of the model's surprise over all its subwords and the end of the turn, divided by the number
of tokens that `nltk.tokenize.NLTKWordTokenizer` finds in the lower-cased reply (punctuation counts)
plus one for the end of the turn. There is no unknown token. Replies are spelt by
`dialogue.text.tidy` first, as everything the model reads.

    python benchmarks/dialogue_likelihood.py --data ROOT [--replies N]

Writes benchmarks/dialogue_likelihood.json.
"""

import argparse
import hashlib
import json
import math
import os
import random
from collections.abc import Iterator
from pathlib import Path

import torch
from nltk.tokenize import NLTKWordTokenizer
from tqdm import tqdm

from dialogue.affect import UserAffect
from dialogue.conversation import Message
from dialogue.data import Source, read_source
from dialogue.models.bundled import WEIGHTS, BundledModel

CONFIDENCE = {"slightly": 0.4, "clearly": 0.65, "very": 0.9}


def replies(data: Path) -> Iterator[tuple[list[Message], UserAffect, str]]:
    """Yield (talk so far, feeling, human reply) of every listener's turn."""
    for talk in read_source(data, Source("empathetic_dialogues", 2), "valid"):
        feeling, strength = talk.feeling
        affect = UserAffect(feeling, confidence=CONFIDENCE[strength])
        talked = [
            Message("assistant", text) if listens else Message("user", text, affect)
            for listens, text in talk.turns
        ]
        for cut, (listens, text) in enumerate(talk.turns):
            if listens and cut > 0:
                yield talked[:cut], affect, text


def felt(messages: list[Message], affect: UserAffect | None) -> list[Message]:
    """Say every user turn with one feeling."""
    return [Message(m.role, m.content, affect if m.role == "user" else None) for m in messages]


@torch.inference_mode()
def nats(model: BundledModel, messages: list[Message], reply: str) -> float:
    """Sum of the surprise of a reply and its end, in nats."""
    prompt = model.encode(messages)
    ids = model._tokenizer.encode(reply, add_special_tokens=False)
    ids = torch.tensor([[*ids, model._tokenizer.eos_token_id]])
    logits = model._model(torch.cat([prompt, ids], 1)).logits[0, prompt.shape[1] - 1 : -1]
    return float(-logits.log_softmax(-1).gather(1, ids[0, :, None]).sum())


def interval(differences: list[float], random_: random.Random) -> list[float]:
    """95 % bootstrap interval of a mean."""
    tensor = torch.tensor(differences)
    generator = torch.Generator().manual_seed(random_.randrange(2**31))
    draws = [
        float(tensor[torch.randint(len(tensor), (len(tensor),), generator=generator)].mean())
        for _ in range(2000)
    ]
    draws.sort()
    return [round(draws[50], 4), round(draws[-51], 4)]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("ATTUNE_DATA"))
    parser.add_argument("--replies", type=int, default=None, help="a random part of them")
    args = parser.parse_args()
    torch.set_num_threads(1)
    random_ = random.Random(0)
    all_ = list(replies(args.data))
    chosen = random_.sample(all_, min(len(all_), args.replies or len(all_)))
    others = random_.sample([affect for _, affect, _ in chosen], len(chosen))
    model = BundledModel.load(device="cpu", seed=0)
    arms: dict[str, list[float]] = {"right": [], "none": [], "shuffled": []}
    tokens: list[int] = []
    letters = 0
    for (messages, affect, reply), other in zip(tqdm(chosen), others, strict=True):
        tokens.append(len(NLTKWordTokenizer().tokenize(reply.lower())) + 1)
        letters += len(reply.encode())
        for arm, shown in (("right", affect), ("none", None), ("shuffled", other)):
            arms[arm].append(nats(model, felt(messages, shown), reply))
    facts = {
        "weights_sha256": hashlib.sha256((WEIGHTS / "model.safetensors").read_bytes()).hexdigest(),
        "replies": len(chosen),
        "tokens": sum(tokens),
        "perplexity": {a: round(math.exp(sum(v) / sum(tokens)), 2) for a, v in arms.items()},
        "bits_per_byte": {a: round(sum(v) / math.log(2) / letters, 4) for a, v in arms.items()},
        "nats_a_reply_saved_by_the_right_feeling": {
            arm: {
                "mean": round(sum(gains := _gains(arms, arm)) / len(gains), 4),
                "interval_95": interval(gains, random_),
            }
            for arm in ("none", "shuffled")
        },
    }
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(facts, indent=1) + "\n")
    print(path.read_text())


def _gains(arms: dict[str, list[float]], other: str) -> list[float]:
    return [b - a for a, b in zip(arms["right"], arms[other], strict=True)]


if __name__ == "__main__":
    main()
