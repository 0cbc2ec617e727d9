"""How soon a model of transformers begins to answer, early and late in a long talk.

    OMP_NUM_THREADS=1 python benchmarks/dialogue_turns.py

Writes benchmarks/dialogue_turns.json and .md. No model is downloaded: each has the widths of a
known one, a few of its layers, and random weights, for time does not depend on what a weight is.
Lines, answers and feelings are alike in every turn: turns differ in what came before alone.
Seconds are those of the processor, which other work on the machine does not lengthen much.
"""

import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from dialogue.affect import UserAffect
from dialogue.conditioning import lean_note
from dialogue.conversation import Conversation, Message
from dialogue.models.bundled import WEIGHTS
from dialogue.models.local import Decoding, LocalModel, quantized

TURNS = 20
TALKS = 3
TALKS_ANEW = 1
LINE = "I had a long day at work today and my boss shouted at me in front of everybody."
ANSWER = "Oh no, that sounds hard. What happened then?"
SAD = UserAffect("sad", confidence=0.7, channels=("face", "voice"), agreement=0.9)
SHAPES = {
    "Llama-3.2-1B": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "num_hidden_layers": 1,
    },
    "SmolLM2-135M": {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "num_hidden_layers": 6,
    },
}
LAYERS = {"Llama-3.2-1B": 16, "SmolLM2-135M": 30}


ROWS = {
    "first token at turn 20 ÷ at turn 2 (wanted: ≤ 1.2)": "turn_20_to_turn_2",
    "the same for each token read": "turn_20_to_turn_2_a_token_read",
    "all read again ÷ cache kept, at turn 20 (wanted: ≥ 5)": "read_anew_to_kept_at_turn_20",
    "tokens of the talk at turn 20": "tokens_of_the_talk_at_turn_20",
    "of these read at turn 2": "tokens_read_at_turn_2",
    "of these read at turn 20": "tokens_read_at_turn_20",
    "tokens of the note": "tokens_of_the_note",
    "read more for it at turn 20 (wanted: no more)": "tokens_read_more_for_the_note_at_turn_20",
    "int8: times faster reading 128 tokens": "times_faster_reading_128_tokens",
    "int8: times faster reading one token": "times_faster_reading_one_token",
    "int8: relative error of the logits": "relative_error_of_the_logits",
}


class Watch:
    """Notes for each pass of a model when it ended, in processor time, and what it read."""

    def __init__(self, model: LlamaForCausalLM) -> None:
        self.ends_s: list[float] = []
        self.tokens: list[int] = []
        model.register_forward_hook(self._note, with_kwargs=True)

    def _note(self, _: object, __: object, named: dict[str, torch.Tensor], ___: object) -> None:
        self.ends_s.append(time.process_time())
        self.tokens.append(named["input_ids"].shape[1])

    def first(self, model: LocalModel, messages: list[Message]) -> tuple[float, int]:
        """Answer; return the seconds to the first token and the tokens read for it."""
        self.ends_s.clear()
        self.tokens.clear()
        begun_s = time.process_time()
        model.reply(messages)
        return self.ends_s[0] - begun_s, self.tokens[0]


def growing(affect: UserAffect | None) -> Iterator[list[Message]]:
    """Yield the talk at each of its turns."""
    talk = Conversation()
    for _ in range(TURNS):
        talk.said("user", LINE, affect)
        yield list(talk.messages)
        talk.said("assistant", ANSWER)


def hold(model: LocalModel, watch: Watch, affect: UserAffect | None) -> list[tuple[float, int]]:
    """Hold a whole talk; return for each turn what `Watch.first` does."""
    model.forget()  # else this talk would go on from the last one, which began alike
    return [watch.first(model, messages) for messages in growing(affect)]


def measure(shape: dict[str, int]) -> dict[str, Any]:
    """Hold talks with one model."""
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)
    torch.manual_seed(0)
    config = LlamaConfig(**shape, vocab_size=len(tokenizer), max_position_embeddings=8192)
    model = LlamaForCausalLM(config).eval()
    watch = Watch(model)
    how = Decoding(temperature=0.0, most_tokens=2, timeout_s=3600.0)
    kept = LocalModel(model, tokenizer, how)
    anew = LocalModel(model, tokenizer, replace(how, cached_talks=0))
    runs = [hold(kept, watch, SAD) for _ in range(TALKS)]
    plain = hold(kept, watch, None)
    *_, whole = growing(SAD)
    read_anew = [watch.first(anew, whole) for _ in range(TALKS_ANEW)]
    firsts_s = [median(run[turn][0] for run in runs) for turn in range(TURNS)]
    read = [tokens for _, tokens in runs[-1]]
    note = lean_note(SAD, said=LINE, trend="steady")
    whole_s = median(seconds for seconds, _ in read_anew)
    return {
        "first_token_ms": {
            turn: round(1000 * firsts_s[turn - 1]) for turn in (1, 2, 5, 10, 15, 20)
        },
        "tokens_read_at_turn_2": read[1],
        "tokens_read_at_turn_20": read[-1],
        "tokens_of_the_talk_at_turn_20": read_anew[0][1],
        "turn_20_to_turn_2": round(firsts_s[-1] / firsts_s[1], 2),
        "turn_20_to_turn_2_a_token_read": round(
            (firsts_s[-1] / read[-1]) / (firsts_s[1] / read[1]), 2
        ),
        "read_anew_at_turn_20_ms": round(1000 * whole_s),
        "read_anew_to_kept_at_turn_20": round(whole_s / firsts_s[-1], 1),
        "tokens_of_the_note": len(tokenizer(f"\n{note}", add_special_tokens=False)["input_ids"]),
        "tokens_read_more_for_the_note_at_turn_20": read[-1] - plain[-1][1],
        "int8": eight_bits(model, len(tokenizer)),
    }


@torch.inference_mode()
def eight_bits(model: LlamaForCausalLM, vocabulary: int) -> dict[str, float]:
    """Compare eight-bit weights with float32: speed, and how far the last layer's output moves."""
    ids = torch.randint(0, vocabulary, (1, 128), generator=torch.Generator().manual_seed(0))
    small = quantized(model)
    expected, given = model(input_ids=ids).logits, small(input_ids=ids).logits
    scale, seconds = expected.norm(), {}
    for name, size in (("reading_128", 128), ("one_token", 1)):
        pairs = [(_timed(model, ids[:, :size]), _timed(small, ids[:, :size])) for _ in range(7)]
        seconds[name] = median(whole / less for whole, less in pairs)
    return {
        "times_faster_reading_128_tokens": round(seconds["reading_128"], 1),
        "times_faster_reading_one_token": round(seconds["one_token"], 1),
        "relative_error_of_the_logits": round(float((given - expected).norm() / scale), 3),
    }


def _timed(model: torch.nn.Module, ids: torch.Tensor) -> float:
    begun_s = time.process_time()
    model(input_ids=ids)
    return time.process_time() - begun_s


def table(facts: dict[str, dict[str, Any]]) -> str:
    """Write the facts as a table."""
    rows = ["| | " + " | ".join(facts) + " |", "|---" * (len(facts) + 1) + "|"]
    for what, key in ROWS.items():
        values = [fact.get(key, fact["int8"].get(key)) for fact in facts.values()]
        rows.append(f"| {what} | " + " | ".join(map(str, values)) + " |")
    return "\n".join(rows)


def page(facts: dict[str, Any]) -> str:
    """Write what was measured, and how."""
    models = facts["models"]
    layers = " and ".join(f"{fact['layers']} layers ({name})" for name, fact in models.items())
    before, after = facts["load_average"]
    return f"""# A long talk with a model of transformers

Processor time, float32, {facts["threads"]} thread; the machine had other work (load average
{before} at the beginning, {after} at the end, on {os.cpu_count()} cores), so only the ratios are of
use: medians of {TALKS} talks of {TURNS} turns. Widths are those of the models named, with random
weights and {layers}; lines, answers and
feelings are alike in every turn. Made by `OMP_NUM_THREADS=1 python benchmarks/dialogue_turns.py`.

{table(models)}

A trend that is steady, as here, needs no words in the note; one that lifts or sinks takes some nine
tokens more. What the notes repeated in every turn the persona now says once. What is left of the
growth is attention over the earlier talk, which no cache saves: the wider a layer, the smaller its
share. Once a talk outgrows `context_tokens`, its beginning is dropped down to about half of
that, and this one turn reads the rest anew.
"""


def main() -> None:
    """Measure and write."""
    load_before = os.getloadavg()[0]
    models = {name: measure(shape) for name, shape in SHAPES.items()}
    for name, facts in models.items():
        facts["layers"] = f"{SHAPES[name]['num_hidden_layers']} of {LAYERS[name]}"
    facts = {
        "machine": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "load_average": [round(load_before, 1), round(os.getloadavg()[0], 1)],
        "talks": TALKS,
        "models": models,
    }
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(facts, indent=1) + "\n")
    path.with_suffix(".md").write_text(page(facts))
    print(path.read_text())


if __name__ == "__main__":
    main()
