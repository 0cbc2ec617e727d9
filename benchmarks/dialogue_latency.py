"""How soon the bundled model says its first word, and how fast it draws.

    python benchmarks/dialogue_latency.py

Writes benchmarks/dialogue_latency.json. The model chooses among several whole answers before it
says the first word, so that word waits for all of them. Times are those of the processor, which
other work on the machine hardly lengthens; on an idle machine a person waits as long.
"""

import json
import platform
import time
from pathlib import Path
from statistics import median, quantiles

import torch

from dialogue.affect import UserAffect
from dialogue.conversation import Conversation
from dialogue.models.bundled import BundledDecoding, BundledModel

LINES = (
    "I had a long day at work and my boss shouted at me.",
    "I really tried to explain it, but nobody listened.",
    "Maybe I should look for another job.",
    "My sister says I should stay.",
    "I don't know what to do.",
    "Anyway, we got a puppy yesterday!",
    "He is so small that he sleeps in a shoe.",
    "My neighbour complained about the noise already.",
    "It made me a bit nervous, to be honest.",
    "Thank you for listening.",
)


def main() -> None:
    """Measure and write."""
    affect = UserAffect("sad", confidence=0.7, channels=("face", "voice"), agreement=0.9)
    begun = time.process_time()
    model = BundledModel.load(device="cpu", seed=0)
    load_s = time.process_time() - begun
    model.reply([{"role": "user", "content": "Hello."}])  # the first pass sets up kernels
    first_s, drawn, drawing_s = [], 0, 0.0
    for _ in range(5):
        talk = Conversation()
        for line in LINES:
            talk.said("user", line, affect)
            begun = time.process_time()
            stream = model.stream(talk.messages)
            words = [next(stream)]
            first_s.append(time.process_time() - begun)
            talk.said("assistant", "".join([*words, *stream]))
    torch.set_num_threads(1)  # as replies are drawn
    for seed in range(10):
        prompt = model.encode(talk.messages[:-1])
        begun = time.process_time()
        candidates = model.draw(prompt, torch.Generator().manual_seed(seed))
        drawing_s += time.process_time() - begun
        drawn += sum(len(c.ids) for c in candidates)
    facts = {
        "machine": platform.processor() or platform.machine(),
        "threads": 1,
        "candidates": BundledDecoding().candidates,
        "replies": len(first_s),
        "first_word_ms": {
            "median": round(1000 * median(first_s)),
            "p95": round(1000 * quantiles(first_s, n=20)[-1]),
            "max": round(1000 * max(first_s)),
        },
        "tokens_per_s": round(drawn / drawing_s),
        "load_s": round(load_s, 2),
    }
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(facts, indent=1) + "\n")
    print(path.read_text())


if __name__ == "__main__":
    main()
