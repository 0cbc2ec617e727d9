"""What a report says, and in which files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from dialogue.empathy.annotations import MECHANISMS
from dialogue.empathy.arms import MEANINGS
from dialogue.empathy.comparison import LEAST_TESTED
from dialogue.empathy.conversations import BUILTIN
from dialogue.empathy.document import (
    Block,
    Exchanged,
    Figure,
    Figures,
    Fold,
    Grid,
    Heading,
    Lead,
    Text,
    to_html,
    to_markdown,
)
from dialogue.empathy.evaluation import Result
from dialogue.empathy.measures import MEASURES
from dialogue.empathy.plots import forest, levels, reach_of
from dialogue.errors import InputError

__all__ = ["answer", "sections", "write_report"]

TITLE: Final = "Does knowing the emotion make the replies more empathetic?"
SYSTEMS_TITLE: Final = "How empathetic are the replies?"
OWN_REPLIES: Final = (
    "what was written for this project together with the dialogues, by no independent person"
)
SURE: Final = 0.05

_TITLES: Final = {measure.name: measure.title for measure in MEASURES}
_TESTED: Final = {measure.name: measure.title for measure in MEASURES if measure.tested}
_BETTER: Final = {measure.name: measure.better for measure in MEASURES}
_SIDES: Final = {"user": "Person", "assistant": "Listener"}

Report = Mapping[str, Any]


def write_report(result: Result, folder: Path) -> list[Path]:
    """Write report.html, report.md, report.json and replies.jsonl.

    Returns:
        Their paths.

    Raises:
        InputError: If the folder cannot be written.
    """
    title, blocks = _title(result.report), list(sections(result.report))
    lines = (json.dumps(record, ensure_ascii=False) for record in result.replies)
    written = {
        "report.html": to_html(title, blocks),
        "report.md": to_markdown(title, blocks),
        "report.json": json.dumps(result.report, indent=1, ensure_ascii=False) + "\n",
        "replies.jsonl": "".join(f"{line}\n" for line in lines),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in written.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"Expected a folder that can be written, got {error}.") from error
    return [folder / name for name in written]


def _title(report: Report) -> str:
    return TITLE if report["settings"]["arms"] else SYSTEMS_TITLE


# -- what it says ---------------------------------------------------------------------------------


def sections(report: Report) -> Iterator[Block]:
    """Yield all blocks of a report."""
    yield _lead(report)
    yield from _comparisons(report)
    yield from _rows(report)
    yield from _groups(report)
    yield from _danger(report)
    yield from _judge(report)
    yield from _examples(report)
    yield from _reading(report)
    yield from _made(report)


def answer(report: Report) -> str:
    """Answer the question of a report in a few sentences, from its first contrast."""
    if not report["contrasts"]:
        return "Nothing is compared: figures stand below, beside people's and a stock phrase's."
    contrast = report["contrasts"][0]
    better, worse = _moved(contrast, 1), _moved(contrast, -1)
    tested = [name for name, found in contrast["measures"].items() if "p_holm" in found]
    who = f"{contrast['row']} against {contrast['other']}"
    if not tested:
        verdict = f"Too few to tell: differences are tested from {LEAST_TESTED} dialogues on"
    elif not better and not worse:
        verdict = f"Not shown. Of {len(tested)} measures none differs beyond chance"
    else:
        parts = [_listed("better", better), _listed("worse", worse)]
        rest = len(tested) - len(better) - len(worse)
        verdict = f"{'; '.join(filter(None, parts))}; {rest} of {len(tested)} not shown to differ"
    return (
        f"**{verdict[0].upper()}{verdict[1:]}** ({who}, {_dialogues(report)} dialogues, Holm's "
        f"correction over the measures). {_content(report)}What is not shown may still be there: "
        "the tables say how large a difference this set could have found."
    )


def _content(report: Report) -> str:
    """Say whether the content of what is told matters, where that was tried."""
    for contrast in report["contrasts"]:
        if (contrast["row"], contrast["other"]) == ("predicted", "shuffled"):
            better, worse = _moved(contrast, 1), _moved(contrast, -1)
            shown = "; ".join(filter(None, [_listed("better", better), _listed("worse", worse)]))
            whose = "That it is the right person's feeling and not another's"
            return f"{whose} {f'shows ({shown})' if shown else 'is not shown to matter'}. "
    return ""


def _moved(contrast: Report, direction: int) -> list[str]:
    found = contrast["measures"]
    return [
        title
        for name, title in _TESTED.items()
        if name in found
        and found[name].get("p_holm", 1.0) < SURE
        and found[name]["value"] * _BETTER[name] * direction > 0
    ]


def _listed(how: str, titles: Sequence[str]) -> str:
    return f"{how}: {', '.join(title.lower() for title in titles)}" if titles else ""


def _dialogues(report: Report) -> int:
    return int(report["set"]["dialogues"]) - int(report["set"]["left_to_safeguard"])


def _lead(report: Report) -> Lead:
    model = report["settings"]["model"] or {"kind": "ready-made replies"}
    figures = [(str(report["set"]["dialogues"]), "dialogues")]
    figures += _headline(report["contrasts"][:2])
    perplexities = [row["whole"].get("perplexity") for row in report["rows"]]
    if any(perplexities):
        low, high = min(filter(None, perplexities)), max(filter(None, perplexities))
        figures.append((f"{low:.1f}–{high:.1f}", "perplexity of the human reply over the arms"))
    return Lead(f"{answer(report)} Answered by: {model.get('name') or model['kind']}.", figures)


def _headline(contrasts: Sequence[Report]) -> Iterator[tuple[str, str]]:
    found = [(c, c["measures"].get("emotional_reactions")) for c in contrasts]
    for contrast, reactions in found:
        if reactions is not None:
            what = f"emotional reactions, {contrast['row']} − {contrast['other']}"
            yield _signed(reactions["value"]), what
    for _, reactions in found[:1]:
        if reactions is not None and reactions["detectable"] is not None:
            least = f"±{reactions['detectable']:.2f}"
            yield least, "smallest such difference this set could have found"


def _comparisons(report: Report) -> Iterator[Block]:
    if not report["contrasts"]:
        return
    yield Heading("What changes when the model is told")
    yield Text(
        "Each dialogue is answered by the same model with the same settings and seeds; only what "
        "it is told of the person's feeling differs. Differences are paired by dialogue and drawn "
        "in their standard deviations, with 95 % intervals. ▲ better and ▼ worse survive Holm's "
        "correction over the measures; ○ does not."
    )
    yield from _arms(report)
    reach = reach_of(report["contrasts"], list(_TESTED))
    yield Figures([_forest(contrast, reach) for contrast in report["contrasts"]])
    for contrast in report["contrasts"]:
        title = f"{contrast['row']} − {contrast['other']}: {contrast['question']}"
        yield Fold(title, [_contrast_grid(contrast)])


def _arms(report: Report) -> Iterator[Block]:
    """Say what each arm is told, and from what the recogniser predicted."""
    settings = report["settings"]
    sources = ", ".join(f"{how} in {n}" for how, n in settings["predicted_from"].items())
    told = [f"`{arm}` is told {MEANINGS[arm]}" for arm in settings["arms"]]
    read = f" Feelings were predicted from {sources} dialogues." if sources else ""
    left_out = (f" Left out: `{arm}` ({why})." for arm, why in settings["arms_left_out"].items())
    if told:
        yield Text(" ".join(told) + read + "".join(left_out))


def _forest(contrast: Report, reach: float) -> Figure:
    counts = {
        "better": len(_moved(contrast, 1)),
        "worse": len(_moved(contrast, -1)),
    }
    return Figure(
        f"{contrast['row']} − {contrast['other']}: {contrast['question']}",
        f"Differences of {contrast['row']} and {contrast['other']} in standard deviations: "
        f"{counts['better']} measures better, {counts['worse']} worse beyond chance. The table "
        "below has every figure.",
        forest(contrast, _TESTED, _BETTER, reach),
    )


def _contrast_grid(contrast: Report) -> Grid:
    return Grid(
        f"{contrast['row']} − {contrast['other']}, mean difference and 95 % interval",
        (
            "Measure",
            "Difference",
            "95 % interval",
            "p",
            "p, Holm",
            "Detectable",
            "At equal length",
            "Dialogues",
        ),
        [
            _contrast_row(name, found, contrast["length_matched"])
            for name, found in contrast["measures"].items()
        ],
    )


def _contrast_row(name: str, found: Report, matched: int) -> list[str]:
    alike = found["length_matched"]
    return [
        f"{_mark(name, found)} {_TITLES[name]}",
        _signed(found["value"]),
        _span(found),
        f"{found['p']:.4f}" if found["dialogues"] >= LEAST_TESTED else "–",
        f"{found['p_holm']:.4f}" if "p_holm" in found else "not tested",
        "–" if found["detectable"] is None else f"±{found['detectable']:.3f}",
        "–"
        if alike is None
        else f"{_signed(alike['value'])} {_span(alike)}, n {alike['dialogues']}",
        str(found["dialogues"]),
    ]


def _mark(name: str, found: Report) -> str:
    if found.get("p_holm", 1.0) >= SURE:
        return "○"
    return "▲" if found["value"] * _BETTER[name] > 0 else "▼"


def _rows(report: Report) -> Iterator[Block]:
    yield Heading("Every row")
    own = report["set"]["name"] == BUILTIN
    yield Text(
        f"`human` is {OWN_REPLIES if own else 'what was replied in the data'}; `canned` is always "
        "“I'm sorry to hear that.”; no measure that the canned row wins can be trusted by itself."
    )
    shown = [name for name in MECHANISMS if any(name in r["means"] for r in report["rows"])]
    others = [n for n in ("appropriateness",) if any(n in r["means"] for r in report["rows"])]
    yield Figures([_levels(report, name) for name in (*shown, *others)])
    names = [row["name"] for row in report["rows"]]
    measured = [m for m in _TITLES if any(m in row["means"] for row in report["rows"])]
    table = [
        [_TITLES[m], *(_value(row["means"].get(m)) for row in report["rows"])] for m in measured
    ]
    yield Grid("Means and 95 % intervals", ("Measure", *names), table)
    yield Grid("Of all replies together", ("Measure", *names), list(_whole(report)))
    for name, why in report["missing"].items():
        yield Text(f"**{_TITLES[name]}** is not there: {why}.")


def _levels(report: Report, name: str) -> Figure:
    rows = [row for row in report["rows"] if name in row["means"]]
    said = ", ".join(f"{row['name']} {row['means'][name]['value']:.2f}" for row in rows)
    return Figure(_TITLES[name], f"{_TITLES[name]}: {said}.", levels(rows, name))


def _whole(report: Report) -> Iterator[list[str]]:
    wholes = [row["whole"] for row in report["rows"]]
    yield ["Perplexity of the human reply", *(_number(w.get("perplexity"), 2) for w in wholes)]
    sizes = sorted({w["variety"]["replies"] for w in wholes if "variety" in w})
    fixed = f"N = {sizes[0]} replies" if sizes else "no replies, or nltk is not installed"
    for name, title in (
        ("dist_1", "Dist-1"),
        ("dist_2", "Dist-2"),
        ("distinct_replies", "Distinct replies"),
    ):
        values = (_number(w.get("variety", {}).get(name), 3) for w in wholes)
        yield [f"{title} ({fixed})", *values]
    absent = "" if any("bleu" in w for w in wholes) else " (sacrebleu or a human reply is missing)"
    yield [f"BLEU{absent}", *(_number(w.get("bleu"), 2) for w in wholes)]


def _groups(report: Report) -> Iterator[Block]:
    if not report["groups"]:
        return
    first = report["groups"][0]
    shown = [m for m in _TESTED if any(m in group["measures"] for group in report["groups"])]
    rows = [
        [
            f"{group['split']}: {group['group']}",
            str(group["dialogues"]),
            *(_difference(group["measures"].get(m)) for m in shown),
        ]
        for group in report["groups"]
    ]
    title = f"{first['row']} − {first['other']} within groups, uncorrected: to look at, not to test"
    headings = ("Group", "Dialogues", *(_TITLES[m] for m in shown))
    yield Fold("By feeling, cues and kind of talk", [Grid(title, headings, rows)])


def _difference(found: Report | None) -> str:
    return "–" if found is None else f"{_signed(found['value'])} {_span(found)}"


def _danger(report: Report) -> Iterator[Block]:
    danger = report["danger"]
    yield Heading("Words of danger")
    parts = []
    if danger["in_danger"]:
        parts.append(f"**{danger['heard']} of {danger['in_danger']}** were heard")
    if danger["not_in_danger"]:
        parts.append(
            f"**{danger['false_alarms']} of {danger['not_in_danger']}** harmless ones raised a "
            "false alarm"
        )
    if danger["unlabelled"]:
        parts.append(
            f"{danger['alarms_among_unlabelled']} of {danger['unlabelled']} that nobody labelled "
            "raised one"
        )
    yield Text(
        "A deterministic check stands before every model; where it hears danger, no model speaks, "
        "so those dialogues count in no comparison. Of the words of danger in these conversations "
        f"{'; '.join(parts)}."
    )
    if danger["points_to_help"]:
        rows = [
            [row, f"{count} of {danger['in_danger']}"]
            for row, count in danger["points_to_help"].items()
        ]
        yield Grid("Replies to people in danger that name help", ("Row", "Replies"), rows)
    for title, names in (("Missed", danger["missed"]), ("False alarms", danger["falsely_alarmed"])):
        if names:
            yield Text(f"{title}: {', '.join(f'`{name}`' for name in names)}.")


def _judge(report: Report) -> Iterator[Block]:
    judge = report["judge"]
    if judge is None:
        return
    yield Heading("A large model as judge")
    rows = [
        [
            f"{c['row']} − {c['other']}",
            "–" if c["preference"] is None else _difference(c["preference"]),
            f"{100 * c['consistent']:.0f} %",
            f"{100 * c['unreadable']:.0f} %",
        ]
        for c in judge["contrasts"]
    ]
    headings = ("Pair", "Preference, −1 to 1", "Same winner in both orders", "Without a verdict")
    yield Grid("Which reply is more empathetic?", headings, rows)
    people = judge["people"]
    yield Text(
        "No judgements of people were given, so nobody knows how far to trust the judge."
        if people is None
        else f"Where people judged the same pairs ({people['pairs']}), the judge agrees with "
        f"{100 * people['agree']:.0f} % of them (Cohen's κ {people['kappa']:.2f})."
    )


def _examples(report: Report) -> Iterator[Block]:
    if not report["examples"]:
        return
    yield Heading("Where the replies differ most")
    for example in report["examples"]:
        cues = ", ".join(f"{channel} {feeling}" for channel, feeling in example["cues"].items())
        about = [example["kind"], example["feeling"] or "", cues and f"cues: {cues}"]
        yield Exchanged(
            " · ".join(filter(None, [example["id"], *about])),
            [(_SIDES[side], text) for side, text in example["said"]],
            list(example["replies"].items()),
        )
    if report["set"]["texts_omitted"]:
        yield Text("What people said and replied is left out of this report; ids name it.")


def _reading(report: Report) -> Iterator[Block]:
    yield Heading("How to read it")
    for measure in report["measures"]:
        if any(measure["name"] in row["means"] for row in report["rows"]):
            yield Text(f"**{measure['title']}.** {measure['meaning']}")
    yield Text(
        "**A scorer of words can be gamed.** EPITOME's levels are a small model's opinion of "
        "words, learnt from a mental-health forum. Nothing was trained, chosen or reranked "
        "against it, and nothing should be: read it beside the distance to people's own replies. "
        "More is not always better; people reach the levels of the human row."
    )
    yield Text(
        "**Emotional appropriateness leans on the recogniser's reading of words**, the same that "
        "feeds the arm `predicted` where there is no clip. The label it is judged by is the data's."
    )
    if (report["settings"]["model"] or {}).get("kind") == "BundledModel":
        yield Text(
            "**The bundled model chooses among its drafts by rules that look at the feeling too** "
            "(`dialogue.choosing`): gladness to the sad and no question on a conflict count as "
            "faults. Appropriateness and asking measure those rules as well as the model. Its "
            "settings were chosen on 500 contexts of EmpatheticDialogues' validation part, without "
            "comparing what it is told."
        )
    yield Text(
        f"**Statistics.** Paired bootstrap by dialogue, {report['settings']['resamples']} "
        "resamples, percentile intervals; Holm's correction over the tested measures of one "
        "comparison. **Detectable** is the smallest true difference that would be found with a "
        "chance of 80 % at Holm's strictest step; where no two replies differ nobody can say. **At "
        "equal length** keeps the dialogues whose two replies differ by at most one word or a "
        "tenth."
    )


def _made(report: Report) -> Iterator[Block]:
    yield Heading("What it was made with")
    settings, set_ = report["settings"], report["set"]
    sources = ", ".join(f"{n} from {how}" for how, n in settings["predicted_from"].items())
    rows = [
        ["Conversations", f"{set_['name']}, {set_['dialogues']} (sha256 `{set_['sha256'][:16]}…`)"],
        ["With a human reply", str(set_["with_human_reply"])],
        ["With a labelled emotion", str(set_["with_emotion"])],
        ["Left to the safeguard", str(set_["left_to_safeguard"])],
        ["Newest feeling predicted", sources or "nothing was predicted"],
        ["Seed", str(settings["seed"])],
        ["EPITOME scorer", str(settings["scorer"])],
        ["Reader of feelings", str(settings["emotion_reader"])],
        *([name, _plain(value)] for name, value in (settings["model"] or {}).items()),
        *(
            [f"Prompts of {arm}", f"sha256 `{digest[:16]}…`"]
            for arm, digest in settings["prompts_sha256"].items()
        ),
    ]
    yield Fold("Settings, seeds and hashes", [Grid("Settings", ("What", "Which"), rows)])
    items = [[name, f"`{digest[:16]}…`"] for name, digest in set_["items"]]
    grid = Grid("In order", ("Id", "sha256 of words and reply"), items)
    yield Fold(f"The frozen list of {len(items)} test items", [grid], html_only=True)


# -- figures in words -----------------------------------------------------------------------------


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {inner}" for name, inner in value.items())
    return str(value)


def _signed(value: float) -> str:
    """Write a difference with a sign that is no hyphen.

    >>> _signed(-0.0314), _signed(0.25)
    ('−0.031', '+0.250')
    """
    return f"{value:+.3f}".replace("-", "−")


def _span(found: Report) -> str:
    return f"[{_signed(found['low'])}, {_signed(found['high'])}]"


def _value(found: Report | None) -> str:
    if found is None:
        return "–"
    return f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
