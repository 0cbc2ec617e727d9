"""Are the bundled model's replies grammatical English? A hundred of them, judged blind.

`sample` draws 100 replies to EmpatheticDialogues validation contexts with the shipped decoding
settings and a fixed seed, and shuffles 30 human replies of other conversations among them. The list
to judge shows a number and a reply, nothing else. `report` joins the judgements with the sources.

    python benchmarks/dialogue_grammar.py sample --data ROOT --out FOLDER
    (write FOLDER/judgements.json: {"1": true, "2": false, "3": "splice", ...}; true is grammatical,
    "splice" is too but for a comma where a full stop belongs)
    python benchmarks/dialogue_grammar.py report --out FOLDER

No corpus text is kept: human replies and contexts appear in the report by conversation id alone.
"""

import argparse
import hashlib
import json
import os
import random
from pathlib import Path

HERE = Path(__file__).parent
MODEL_REPLIES, HUMAN_REPLIES, SEED = 100, 30, 2
CONFIDENCE = {"slightly": 0.4, "clearly": 0.65, "very": 0.9}


def contexts(data: Path) -> list:
    """Return (id, messages, affect, human reply) of shuffled validation talks, one context each."""
    from dialogue.affect import UserAffect
    from dialogue.conversation import Message
    from dialogue.data import Source, read_source

    random_ = random.Random(SEED)
    talks = read_source(data, Source("empathetic_dialogues", 2), "valid")
    found = []
    for talk in random_.sample(talks, len(talks)):
        answers = [i for i, (listens, _) in enumerate(talk.turns) if listens and i > 0]
        if not answers or talk.feeling is None:
            continue
        cut = random_.choice(answers)
        messages = [
            Message("assistant" if listens else "user", text) for listens, text in talk.turns[:cut]
        ]
        feeling, strength = talk.feeling
        affect = UserAffect(feeling, confidence=CONFIDENCE[strength])
        found.append((f"{talk.id}/{cut}", messages, affect, talk.turns[cut][1]))
    return found


def sample(data: Path, out: Path) -> None:
    """Write the blind list and, apart from it, where each line came from."""
    from tqdm import tqdm

    from dialogue.models.bundled import BundledModel

    model = BundledModel.load(device="cpu", seed=SEED)
    chosen = contexts(data)[: MODEL_REPLIES + HUMAN_REPLIES]
    rows = []
    for number, (name, messages, affect, human) in enumerate(tqdm(chosen)):
        if number < MODEL_REPLIES:
            reply = model.reply(messages, affect=affect)
            rows.append({"source": "model", "context": name, "reply": reply})
        else:
            rows.append({"source": "human", "context": name, "reply": human})
    random.Random(SEED + 1).shuffle(rows)
    out.mkdir(parents=True, exist_ok=True)
    lines = [f"{number}\t{row['reply']}" for number, row in enumerate(rows, 1)]
    (out / "blind.tsv").write_text("\n".join(lines) + "\n")
    (out / "sources.json").write_text(json.dumps(rows))


def report(out: Path) -> None:
    """Join judgements and sources into benchmarks/dialogue_grammar.{json,md}."""
    from dialogue.models.bundled import WEIGHTS, BundledDecoding

    rows = json.loads((out / "sources.json").read_text())
    judged = json.loads((out / "judgements.json").read_text())
    for number, row in enumerate(rows, 1):
        verdict = judged[str(number)]
        row |= {"number": number, "grammatical": bool(verdict), "splice": verdict == "splice"}
        if row["source"] == "human":
            del row["reply"]  # corpus text is not ours to copy
    weights = hashlib.sha256((WEIGHTS / "model.safetensors").read_bytes()).hexdigest()
    counts = {source: _counts(rows, source) for source in ("model", "human")}
    facts = {"weights_sha256": weights, "decoding": vars(BundledDecoding()), "seed": SEED, **counts}
    written = json.dumps({**facts, "rows": rows}, indent=1, ensure_ascii=False)
    (HERE / "dialogue_grammar.json").write_text(written + "\n")
    (HERE / "dialogue_grammar.md").write_text(_markdown(facts, rows))


def _counts(rows: list, source: str) -> dict:
    own = [row for row in rows if row["source"] == source]
    return {
        "replies": len(own),
        "grammatical": sum(row["grammatical"] for row in own),
        "of_these_comma_splices": sum(row["splice"] for row in own),
    }


def _markdown(facts: dict, rows: list) -> str:
    model, human = facts["model"], facts["human"]
    lines = [
        "# Are the bundled model's replies grammatical?",
        "",
        f"{model['grammatical']} of {model['replies']} replies of the bundled model were judged "
        f"grammatical English, and {human['grammatical']} of {human['replies']} human replies "
        "shuffled among them. The judge, a language model that helped to build this project, saw "
        "a numbered list of replies without context or source. Chat's looseness counts as "
        "grammatical: a missing subject as in “Sounds good.”, or a comma where a full stop belongs "
        f"({model['of_these_comma_splices']} of the model's, {human['of_these_comma_splices']} of "
        "the human ones). A broken sentence, a missing word or a wrong form does not. Whether a "
        "reply fits its context, or makes sense, was not judged.",
        "",
        "Contexts are from EmpatheticDialogues validation, with the note of the conversation's "
        f"emotion; weights sha256 `{facts['weights_sha256'][:16]}…`; seed {facts['seed']}; "
        "the shipped decoding settings. Made by `benchmarks/dialogue_grammar.py`; human replies "
        "and contexts are named by id (conversation/turn), for corpus text is not copied here.",
        "",
        "| # | context | source | reply | grammatical |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        reply = row.get("reply", "—").replace("|", "/")
        mark = "yes" if row["grammatical"] else "**no**"
        columns = [row["number"], row["context"], row["source"], reply, mark]
        lines.append(f"| {' | '.join(map(str, columns))} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run one of the two steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=["sample", "report"])
    parser.add_argument("--data", type=Path, default=os.environ.get("ATTUNE_DATA"))
    parser.add_argument("--out", type=Path, required=True, help="folder for the blind list")
    args = parser.parse_args()
    if args.step == "sample":
        sample(Path(args.data), args.out)
    else:
        report(args.out)


if __name__ == "__main__":
    main()
