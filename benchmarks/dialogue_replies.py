"""How varied the bundled model's replies are, and whether it knows which reply belongs to a talk.

    python benchmarks/dialogue_replies.py --data ROOT [--contexts N] [--after N]

Contexts are of EmpatheticDialogues validation, one a talk, with the annotated feeling; all figures
are of the shipped settings and one seed. These settings were chosen on the first 500 contexts, so
those are left out. Writes benchmarks/dialogue_replies.json.

Replies: distinct ones (case and punctuation aside); Dist-n (Li et al. 2016), distinct n-grams over
all, of lower-cased NLTK tokens; `copies_context`, those with five words in a row, or all of at
least three, from what was said before; `copied_from_training`, those of more than eight words that
stand word for word in a text the model learnt from. Beside them what people replied.

Ranking: how often the true reply comes first among 20, the others being true replies to other
contexts: by the model's mean log-likelihood a token, by the same with its weight of relevance as
answers are chosen, by TF-IDF similarity to the talk (scikit-learn; fitted on the train part).
"""

import argparse
import hashlib
import json
import os
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from dialogue_grammar import contexts
from sklearn.feature_extraction.text import TfidfVectorizer
from tqdm import tqdm

from dialogue.conversation import Message
from dialogue.data import SOURCES, Source, read_source
from dialogue.empathy.metrics import distinct, grams
from dialogue.models.bundled import WEIGHTS, BundledDecoding, BundledModel
from dialogue.text import bare

SEED = 0
AMONG = 20
LONG = 9
"""Words from which a reply is long."""


def copies_context(reply: str, said: Sequence[str]) -> bool:
    """Whether five words in a row, or all of at least three, were said before."""
    words = bare(reply).split()
    run = min(5, len(words))
    turns = [set(grams(bare(text).split(), run)) for text in said]
    return run >= 3 and any(gram in turn for gram in grams(words, run) for turn in turns)


def copied_from_training(data: Path, replies: Sequence[str]) -> list[str]:
    """Return the long replies that stand word for word in a text that is trained on."""
    long = [words for reply in replies if len(words := bare(reply).split()) >= LONG]
    by_beginning: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for words in long:
        by_beginning.setdefault(tuple(words[:LONG]), set()).add(tuple(words))
    found = set()
    for source in tqdm(SOURCES, desc="training text", unit="corpus"):
        for talk in read_source(data, source, "train"):
            for _, text in talk.turns:
                words = bare(text).split()
                for start, gram in enumerate(grams(words, LONG)):
                    for whole in by_beginning.get(gram, ()):
                        if tuple(words[start : start + len(whole)]) == whole:
                            found.add(" ".join(whole))
    return sorted(found)


def summed_up(replies: Sequence[str], talks: Sequence[Sequence[Message]]) -> dict[str, float]:
    """Measure one voice's replies."""
    copies = [
        copies_context(reply, [message.content for message in talk])
        for reply, talk in zip(replies, talks, strict=True)
    ]
    lengths = [len(bare(reply).split()) for reply in replies]
    return {
        "distinct_replies": round(len(set(map(bare, replies))) / len(replies), 3),
        "dist_1": round(distinct(replies, 1), 3),
        "dist_2": round(distinct(replies, 2), 3),
        "copies_context": round(sum(copies) / len(copies), 3),
        "mean_words": round(sum(lengths) / len(lengths), 1),
        "asks_back": round(sum("?" in reply for reply in replies) / len(replies), 3),
    }


@torch.inference_mode()
def ranked_first(model: BundledModel, chosen: list, others: list[list[str]]) -> dict[str, float]:
    """Share of contexts whose true reply the model ranks first."""
    weight = model._decoding.relevance
    first = {"likelihood": 0, "likelihood_and_relevance": 0}
    for (_, messages, affect, true), false in zip(
        tqdm(chosen, desc="ranking"), others, strict=True
    ):
        given = model.likelihoods(messages, [true, *false], affect)
        alone = model.likelihoods([], [true, *false])
        weighed = [g + weight * (g - a) for g, a in zip(given, alone, strict=True)]
        first["likelihood"] += max(given) == given[0]
        first["likelihood_and_relevance"] += max(weighed) == weighed[0]
    return {name: round(count / len(chosen), 3) for name, count in first.items()}


def tfidf_first(data: Path, chosen: list, others: list[list[str]]) -> float:
    """Return the same for the similarity of talk and reply."""
    talks = read_source(data, Source("empathetic_dialogues", 2), "train")
    vectors = TfidfVectorizer(sublinear_tf=True, stop_words="english")
    vectors.fit([text for talk in talks for _, text in talk.turns])
    first = 0.0
    for (_, messages, _, true), false in zip(chosen, others, strict=True):
        talk = vectors.transform([" ".join(message.content for message in messages)])
        alike = (vectors.transform([true, *false]) @ talk.T).toarray()[:, 0]
        first += (alike[0] == max(alike)) / (alike == alike[0]).sum()  # a tie is broken by chance
    return round(first / len(chosen), 3)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("ATTUNE_DATA"))
    parser.add_argument("--contexts", type=int, default=500)
    parser.add_argument("--after", type=int, default=500, help="contexts to leave out before")
    args = parser.parse_args()
    torch.set_num_threads(1)
    random_ = random.Random(SEED)
    all_ = contexts(args.data)
    chosen = all_[args.after : args.after + args.contexts]
    model = BundledModel.load(device="cpu", seed=SEED)
    talks = [messages for _, messages, _, _ in chosen]
    replies = [model.reply(messages, affect=affect) for _, messages, affect, _ in tqdm(chosen)]
    people = [true for _, _, _, true in chosen]
    others = [
        random_.sample([p for p in people if bare(p) != bare(true)], AMONG - 1) for true in people
    ]
    facts = {
        "weights_sha256": hashlib.sha256((WEIGHTS / "model.safetensors").read_bytes()).hexdigest(),
        "decoding": vars(BundledDecoding()),
        "seed": SEED,
        "contexts": len(chosen),
        "after": args.after,
        "model": summed_up(replies, talks),
        "people": summed_up(people, talks),
        "copied_from_training": len(copied_from_training(args.data, replies)),
        "true_reply_first_among_20": {
            **ranked_first(model, chosen, others),
            "tf_idf": tfidf_first(args.data, chosen, others),
            "chance": 1 / AMONG,
        },
    }
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(facts, indent=1) + "\n")
    print(path.read_text())


if __name__ == "__main__":
    main()
