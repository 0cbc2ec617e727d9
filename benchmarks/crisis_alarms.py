"""How often the check for danger speaks in talk of feelings: every turn of those who tell.

The speakers of EmpatheticDialogues, the seekers of ESConv and the questions of counsel_chat. Many
alarms are true: people tell counsellors of abuse and of wishing to die. So the share of alarms is
an upper bound of the false ones, and they are written out to be looked at. A question that was
answered several times counts as often as it stands there; `apart` counts different texts.

    python benchmarks/crisis_alarms.py --data ROOT [--list FILE]

Writes benchmarks/crisis_alarms.json: figures alone, as no words of the corpora may be passed on.
FILE gets one alarm a line: corpus, danger, the phrases that were heard, the words.
"""

import argparse
import gzip
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from dialogue.danger import find_danger, phrases_heard

CORPORA = ("empathetic_dialogues", "esconv", "counsel_chat")
OUT = Path(__file__).with_suffix(".json")


def told(data: Path, corpus: str) -> Iterator[str]:
    """Yield every turn of whoever tells."""
    with gzip.open(data / f"dialogue/{corpus}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            for turn in json.loads(line)["turns"]:
                if turn["speaker"] == "A":
                    yield " ".join(turn["text"].replace("_comma_", ",").split())


def alarms(data: Path, corpus: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Return all turns, and danger and words of those that raise an alarm."""
    texts = list(told(data, corpus))
    return texts, [(danger, text) for text in texts if (danger := find_danger(text))]


def row(corpus: str, danger: str, text: str) -> str:
    """Write an alarm as a line of the list."""
    phrases = sorted({phrase for _, phrase in phrases_heard(text)})
    return "\t".join((corpus, danger, "; ".join(phrases), text))


def main() -> None:
    """Count, and write the figures and the list."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the corpora")
    parser.add_argument("--list", type=Path, help="where the alarms are written out")
    args = parser.parse_args()
    find_danger("")  # the table is read at the first call
    figures, rows, start = {}, [], time.process_time()
    for corpus in CORPORA:
        texts, found = alarms(args.data, corpus)
        figures[corpus] = {
            "turns": len(texts),
            "alarms": len(found),
            "apart": {"turns": len(set(texts)), "alarms": len({text for _, text in found})},
            "dangers": dict(sorted(Counter(danger for danger, _ in found).items())),
        }
        rows += [row(corpus, danger, text) for danger, text in found]
    seconds = time.process_time() - start
    turns = sum(each["turns"] for each in figures.values())
    share = sum(each["alarms"] for each in figures.values()) / turns
    report = {"corpora": figures, "turns": turns, "share_of_alarms": round(share, 5)}
    OUT.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if args.list:
        args.list.write_text("\n".join(rows) + "\n", encoding="utf-8")
    print(f"{len(rows)} alarms in {turns} turns ({share:.2%}), {seconds:.0f} s of CPU")


if __name__ == "__main__":
    main()
