"""Commands `attune train`, `tune`, `cross-validate` and `score`, and the table of the recipes."""

from __future__ import annotations

import argparse
import json
import os
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion.arguments import add_corpora, check_writable, corpora_root, names
from emotion.errors import InputError
from emotion.labels import EMOTIONS, SIX

__all__ = ["RECIPES", "RecipeEntry", "add_commands"]

_SCHEDULED = ("epochs", "seed", "cache", "resume")
_VOICE = (
    *(*_SCHEDULED, "corpora", "without_speakers"),
    *("development_speakers", "temperature_from", "init"),
)
_FACE = (*_SCHEDULED, "init", "teachers")
_OF_THE_RECIPE = ("epochs", "seed", "corpora")


@dataclass(frozen=True)
class RecipeEntry:
    """Where a recipe is; nothing is imported before it is asked for.

    Attributes:
        help: What it trains, in one line.
        recipe: "module:name" of the recipe, of what makes it when called, or of a table that holds
            it under the name it has in RECIPES.
        train: "module:name" of its training function, called as `train(recipe, root, out, ...)`.
        options: What of the command line it takes: "epochs", "seed" and "corpora" change the
            recipe, every other one is a keyword of the training function.
        tunable: Whether the figure of each epoch, which `attune tune` raises, is of the system, not
            of one of its members.
    """

    help: str
    recipe: str
    train: str
    options: tuple[str, ...] = _SCHEDULED
    tunable: bool = True

    def load(self, name: str, **changes: Any) -> Any:
        """Look the recipe up and change it.

        Args:
            name: Its name in RECIPES.
            changes: Fields of the recipe or of its schedule, such as epochs=3.
        """
        from dataclasses import replace

        found = _imported(self.recipe)
        if isinstance(found, Mapping):
            found = found[name]
        recipe = found() if callable(found) else found
        of_schedule = {k: v for k, v in changes.items() if not hasattr(recipe, k)}
        own = {k: v for k, v in changes.items() if k not in of_schedule}
        if of_schedule:
            own["schedule"] = replace(recipe.schedule, **of_schedule)
        return replace(recipe, **own)

    def train_with(self) -> Any:
        """Look the training function up."""
        return _imported(self.train)


def _imported(place: str) -> Any:
    from importlib import import_module

    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def _voice(help_: str, name: str) -> RecipeEntry:
    return RecipeEntry(
        help_, f"emotion.training.recipes:{name}", "emotion.training.voice:train_voice", _VOICE
    )


def _backbone(title: str) -> RecipeEntry:
    return RecipeEntry(
        f"face: {title} on FER2013, from --init or from scratch",
        "emotion.training.recipes:FACE_BACKBONES",
        "emotion.training.face:train_face_backbone",
        (*_SCHEDULED, "init"),
    )


def _end_to_end(help_: str) -> RecipeEntry:
    module = "emotion.training.end_to_end"
    return RecipeEntry(help_, f"{module}:RECIPES", f"{module}:train_end_to_end")


def _svr(help_: str) -> RecipeEntry:
    module = "emotion.training.svr"
    return RecipeEntry(help_, f"{module}:RECIPES", f"{module}:train_svr", ("cache", "resume"))


def _video(help_: str, *, tunable: bool = True) -> RecipeEntry:
    module = "emotion.training.video"
    options = (*_SCHEDULED, "corpora", "without_speakers", "init")
    return RecipeEntry(help_, f"{module}:RECIPES", f"{module}:train_video", options, tunable)


RECIPES: dict[str, RecipeEntry] = {
    "face": RecipeEntry(
        "face: a compact CNN on FER2013 and FER+, the teacher",
        "emotion.training.recipes:FaceRecipe",
        "emotion.training.face:train_face",
        _FACE,
    ),
    "face-taught": RecipeEntry(
        "face: the same, gone on from --init under --teachers",
        "emotion.training.recipes:face_taught",
        "emotion.training.face:train_face",
        _FACE,
    ),
    "face-wide": RecipeEntry(
        "face: a larger one, from scratch under --teachers",
        "emotion.training.recipes:face_wide",
        "emotion.training.face:train_face",
        _FACE,
    ),
    "face-restarted": RecipeEntry(
        "face: the bundled one, the larger gone on from --init by the labels alone",
        "emotion.training.recipes:face_restarted",
        "emotion.training.face:train_face",
        _FACE,
    ),
    "face-sam": RecipeEntry(
        "face: gone on from --init of face-restarted to a flatter minimum",
        "emotion.training.recipes:face_sam",
        "emotion.training.face:train_face",
        _FACE,
    ),
    "face-vgg": _backbone("VGG-Face (VGG-16)"),
    "face-resnet50": _backbone("ResNet-50"),
    "face-inception-resnet-v1": _backbone("InceptionResnetV1"),
    "face-inception-v3": _backbone("Inception V3"),
    "voice": _voice(
        "voice: the bundled one, a compact FCN and statistics of the speaker", "AdaptiveVoiceRecipe"
    ),
    "voice-fcn": _voice("voice: the compact attention-based FCN alone", "VoiceRecipe"),
    "voice-original": _voice("voice: attention-based FCN in the paper's layout", "voice_original"),
    "voice-torchvision": _voice(
        "voice: attention-based FCN in torchvision's AlexNet layout", "voice_torchvision"
    ),
    "voice-average": _voice("voice: the compact FCN with average pooling", "voice_average"),
    "voice-hub": RecipeEntry(
        "voice: an audio model of the Hugging Face hub, --init its folder or id",
        "emotion.training.recipes:HubVoiceRecipe",
        "emotion.training.voice_hub:train_voice_hub",
        (*_SCHEDULED, "corpora", "without_speakers", "development_speakers", "init"),
    ),
    "fusion": RecipeEntry(
        "both: the bundled attention-guided FBP on faces and voices paired by label",
        "emotion.training.recipes:FusionRecipe",
        "emotion.training.fusion:train_fusion",
        (*_SCHEDULED, "face", "voice", "temperature_from"),
    ),
    "fbp": _video("clips: attention-guided factorized bilinear pooling (Zhang 2019)"),
    "fbp-average": _video("clips: the same with average pooling over frames"),
    "fbp-fine-tuned": _video("clips: FBP, its encoders learning too"),
    "am-fbp": _video("clips: FBP at several levels, adaptive weights (AM-FBP 2021)"),
    "concat": _video("clips: concatenated features of face and voice"),
    "vgg-lstm": _video("clips: LSTM over face features (Liu 2018, i)"),
    "vgg-lstm-shuffled": _video("clips: the same, a clip's frames shuffled in training"),
    "pooled-svm": _video(
        "clips: mean, std and min of face features, SVM (Knyazev 2017)", tunable=False
    ),
    "hybrid": _video("clips: weighted sum of four systems' decisions (Liu 2018)", tunable=False),
    "end-to-end": _end_to_end("clips: arousal and valence from sound and face (Tzirakis 2017)"),
    "end-to-end-audio": _end_to_end("clips: the same from sound alone"),
    "end-to-end-video": _end_to_end("clips: the same from the face alone"),
    "svr-audio": _svr("voice: arousal and valence from eGeMAPS by support vector regression"),
    "svr-video": _svr("face: the same from LBP-TOP"),
    "words": RecipeEntry(
        "words: n-grams and a network that reads, on GoEmotions",
        "emotion.training.recipes:WordsRecipe",
        "emotion.training.words:train_words",
        ("epochs", "seed", "resume"),
    ),
}
"""Every recipe of `attune train`: one entry makes a recipe known to train, tune and compare."""


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `train`, `tune`, `cross-validate` and `score` to the parser of `attune`."""
    _add_train(commands)
    _add_tune(commands)
    _add_cross_validate(commands)
    _add_score(commands)


def _add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    train = commands.add_parser(
        "train",
        help="train a recogniser's model by its recipe",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=textwrap.fill(
            "Train one model by its recipe. The state is kept each minute, a checkpoint each few "
            "epochs; --resume goes on where a killed training stopped.",
            width=79,
        ),
        epilog=_recipe_list(),
    )
    _add_recipe(train)
    train.add_argument(
        "--resume", action="store_true", default=None, help="go on from the state in --out"
    )
    train.add_argument("--seed", type=int, help="instead of the recipe's")
    train.add_argument(
        "--development-speakers",
        metavar="ID,…",
        type=names,
        help="voice: fit the temperature on these, and leave --without-speakers wholly alone",
    )
    train.add_argument(
        "--temperature-from",
        metavar="FOLDER",
        type=Path,
        help="voice, fusion: with nobody held out, a checkpoint of the same recipe to take it from",
    )
    train.add_argument(
        "--teachers",
        metavar="FOLDER,…",
        type=lambda text: tuple(Path(name) for name in names(text)),
        help="face: checkpoints whose mean opinion is learnt too",
    )
    train.add_argument(
        "--tuned",
        metavar="FILE",
        type=Path,
        help="best.json of `attune tune`: train by what it found",
    )
    train.set_defaults(run=_train)


def _add_tune(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    tune = commands.add_parser(
        "tune",
        help="search a recipe's hyper-parameters",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=textwrap.fill(
            "Train by variations of a recipe and keep what does best on development speakers, who "
            "are neither trained on nor among --without-speakers. A search that was killed goes on "
            "where it was when it is started again. Needs the extra `training` (Optuna).",
            width=79,
        ),
        epilog=_recipe_list(),
    )
    _add_recipe(tune)
    tune.add_argument("--trials", metavar="N", type=int, default=20, help="in all (default: 20)")
    tune.add_argument(
        "--seed", dest="search_seed", type=int, default=1, help="of the search (default: 1)"
    )
    tune.add_argument(
        "--resume",
        dest="goes_on",  # a search always does; of the recipe nothing is asked
        action="store_true",
        help="go on with the search in --out, as it always does",
    )
    tune.set_defaults(run=_tune)


def _add_cross_validate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    validate = commands.add_parser(
        "cross-validate",
        help="score a voice recipe on everybody, each left out of training once",
        description="Train a recipe of the voice once a fold without the fold's speakers, and "
        "score it on them. The figures are the recipe's, not those of any weights. What was "
        "trained is kept in --out: when killed, the same command goes on.",
    )
    known = tuple(name for name, entry in RECIPES.items() if entry.options == _VOICE)
    validate.add_argument("recipe", choices=known, metavar="RECIPE", help=", ".join(known))
    add_corpora(validate)
    validate.add_argument("--out", metavar="FOLDER", type=Path, help="default: runs/cv-RECIPE")
    validate.add_argument(
        "--folds", metavar="N", type=int, default=6, help="of speakers (default: 6)"
    )
    validate.add_argument(
        "--seeds", metavar="N,…", type=names, default=("1",), help="train from each of them"
    )
    validate.add_argument("--corpora", metavar="NAME,…", type=names, help="of the recipe")
    validate.add_argument("--epochs", type=int, help="instead of the recipe's, for a trial")
    validate.add_argument(
        "--resume", action="store_true", help="go on with what is in --out, as it always does"
    )
    validate.add_argument("--json", metavar="FILE", type=Path, help="write the report as JSON")
    validate.add_argument("--plot", metavar="FILE", type=Path, help="draw the confusions as PNG")
    validate.set_defaults(run=_cross_validate)


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    """Add the recipe and what `train` and `tune` both take."""
    parser.add_argument("recipe", choices=tuple(RECIPES), metavar="RECIPE", help="one listed below")
    add_corpora(parser)
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="default: runs/RECIPE")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's, for a trial")
    parser.add_argument(
        "--corpora", metavar="NAME,…", type=names, help="train on these instead of the recipe's"
    )
    parser.add_argument(
        "--without-speakers",
        metavar="ID,…",
        type=names,
        help="speakers not to train on, as ravdess:21,ravdess:22",
    )
    parser.add_argument(
        "--init", metavar="FOLDER", type=Path, help="weights to start from, for recipes that do"
    )
    for part in ("face", "voice"):
        parser.add_argument(
            f"--{part}",
            metavar="FOLDER",
            type=Path,
            help=f"fusion: checkpoint of the {part} model (default: bundled)",
        )


def _recipe_list() -> str:
    width = max(map(len, RECIPES))
    return "\n".join(["recipes:", *(f"  {n:<{width}}  {e.help}" for n, e in RECIPES.items())])


def _add_score(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    score = commands.add_parser(
        "score",
        help="score a model on a corpus",
        description="Score a model on a corpus, with 95 % bootstrap intervals. Voices are scored "
        "on speakers the model was not trained on, and on no others.",
    )
    score.add_argument(
        "corpus",
        metavar="CORPUS",
        help="a corpus with sound (see `attune corpora`), fer2013, ferplus, goemotions, recola, "
        "paired (label-paired faces and voices) or photographs (the whole face path)",
    )
    add_corpora(score)
    score.add_argument("--split", metavar="NAME", help="one of the corpus's official parts")
    score.add_argument(
        "--model", metavar="FOLDER", type=Path, help="a checkpoint or a folder of them"
    )
    score.add_argument("--emotions", choices=("seven", "six"), default="seven")
    score.add_argument(
        "--baseline",
        action="store_true",
        help="voices: score openSMILE's eGeMAPS + SVM beside (extra `functionals`)",
    )
    for part, kind in (("voice", "audio"), ("face", "image")):
        score.add_argument(
            f"--{part}-model",
            metavar="FOLDER|HUB_ID",
            help=f"score an {kind} classifier of the Hugging Face hub instead",
        )
    score.add_argument(
        "--labels",
        metavar="A,B,…",
        type=names,
        help="what the outputs of that classifier mean, where it does not say",
    )
    score.add_argument(
        "--seeds",
        metavar="FOLDER,…",
        type=names,
        help="the same recipe trained from other seeds: the report says how far they lie apart",
    )
    score.add_argument("--json", metavar="FILE", type=Path, help="write the report as JSON")
    score.add_argument("--plot", metavar="FILE", type=Path, help="draw the confusions as PNG")
    score.set_defaults(run=_score)


def _train(args: argparse.Namespace) -> int:
    from emotion.training.loop import is_main_process

    _check_options(args)
    entry = RECIPES[args.recipe]
    root, out = corpora_root(args), _out_folder(args)
    recipe = entry.load(args.recipe, **_given(args, _OF_THE_RECIPE))
    if args.tuned:
        recipe = _as_tuned(recipe, args.tuned)
    entry.train_with()(recipe, root, out, **_arguments(args))
    if is_main_process():
        print(f"{out}: trained by the recipe {args.recipe}")
    return 0


def _cross_validate(args: argparse.Namespace) -> int:
    from emotion.corpora.archive import default_cache
    from emotion.training.cross_validation import cross_validate

    if not all(seed.isdecimal() for seed in args.seeds):
        raise InputError(f"Expected whole numbers as seeds, got {','.join(args.seeds)}.")
    _check_epochs(args)
    _check_written(args)
    recipe = RECIPES[args.recipe].load(args.recipe, **_given(args, ("epochs", "corpora")))
    found = cross_validate(
        recipe,
        corpora_root(args),
        _out_folder(args, "cv-"),
        folds=args.folds,
        seeds=tuple(map(int, args.seeds)),
        cache=args.cache or default_cache(),
    )
    _show({"recipe": args.recipe} | found, args)
    return 0


def _as_tuned(recipe: Any, file: Path) -> Any:
    from emotion.training.tune import changed

    try:
        return changed(recipe, json.loads(file.read_text())["parameters"])
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise InputError(
            f"Expected best.json of `attune tune` at {file}, got: {error!r}."
        ) from error


def _tune(args: argparse.Namespace) -> int:
    from emotion.training.tune import tune

    if args.trials < 1:
        raise InputError(f"Expected at least one trial, got {args.trials}.")
    if (processes := os.environ.get("WORLD_SIZE", "1")) != "1":
        raise InputError(f"Expected one process for a search, got {processes}.")
    if not RECIPES[args.recipe].tunable:
        known = ", ".join(name for name, entry in RECIPES.items() if entry.tunable)
        raise InputError(f"Expected a recipe to tune among {known}, got {args.recipe}.")
    _check_options(args)
    entry, root = RECIPES[args.recipe], corpora_root(args)
    out = _out_folder(args, "tune-")
    recipe = entry.load(args.recipe, **_given(args, _OF_THE_RECIPE))
    options = _arguments(args) | {"resume": True} | _development(args, recipe, root)
    train = entry.train_with()
    _quiet_optuna()
    best = tune(
        args.recipe,
        recipe,
        lambda varied, folder: train(varied, root, folder, **options),
        out,
        trials=args.trials,
        seed=args.search_seed,
    )
    print(
        f"{best['figure']} {best['value']:.4f} in {out / best['folder']}, best of {best['trials']}"
    )
    for place, value in best["parameters"].items():
        print(f"  {place} = {value:.4g}")
    print(f"attune train {args.recipe} --tuned {out / 'best.json'} trains by it")
    return 0


def _development(args: argparse.Namespace, recipe: Any, root: Path) -> dict[str, tuple[str, ...]]:
    """Choose the speakers that judge the trials, where training does not choose them itself."""
    if "development_speakers" not in RECIPES[args.recipe].options:
        return {}
    from emotion.training.tune import development_speakers
    from emotion.training.voice import speakers_of

    known = speakers_of(recipe.corpora, root) - set(args.without_speakers or ())
    return {"development_speakers": development_speakers(known, args.search_seed)}


def _quiet_optuna() -> None:
    """Let the bars of the trainings speak, not a line of the log for each trial."""
    try:
        from optuna import logging
    except ImportError:
        return  # `tune` says it in words
    logging.set_verbosity(logging.WARNING)


_OPTIONS = tuple(sorted({option for entry in RECIPES.values() for option in entry.options}))


def _check_options(args: argparse.Namespace) -> None:
    """Refuse what the recipe would have to ignore."""
    taken = RECIPES[args.recipe].options
    for name, value in _given(args, _OPTIONS).items():
        if name not in taken:
            flag = name.replace("_", "-")
            raise InputError(f"Expected no --{flag} for {args.recipe}, got {value}.")
    _check_epochs(args)


def _check_epochs(args: argparse.Namespace) -> None:
    if args.epochs is not None and args.epochs < 1:
        raise InputError(f"Expected at least one epoch, got {args.epochs}.")


def _check_written(args: argparse.Namespace) -> None:
    for path in (args.json, args.plot):
        if path:
            check_writable(path)


def _given(args: argparse.Namespace, options: tuple[str, ...]) -> dict[str, Any]:
    """Those of the options that were given."""
    values = {name: getattr(args, name, None) for name in options}
    return {name: value for name, value in values.items() if value is not None}


def _arguments(args: argparse.Namespace) -> dict[str, Any]:
    """Keywords of the training function."""
    from emotion.checkpoint import bundled
    from emotion.corpora.archive import default_cache

    defaults: dict[str, Any] = {"cache": default_cache()}
    defaults |= {part: bundled(part) for part in ("face", "voice")}
    taken = [name for name in RECIPES[args.recipe].options if name not in _OF_THE_RECIPE]
    given = _given(args, tuple(taken))
    return {name: defaults[name] for name in taken if name in defaults} | given


def _out_folder(args: argparse.Namespace, prefix: str = "") -> Path:
    out: Path = args.out or Path("runs") / f"{prefix}{args.recipe}"
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Expected a folder to write at {out}, got: {error.strerror}.") from error
    return out


def _score(args: argparse.Namespace) -> int:
    from emotion.corpora.archive import default_cache
    from emotion.scoring import score

    _check_written(args)
    found = score(
        args.corpus,
        corpora_root(args),
        split=args.split,
        model=args.model,
        emotions=SIX if args.emotions == "six" else EMOTIONS,
        baseline=args.baseline,
        voice_model=args.voice_model,
        face_model=args.face_model,
        labels=args.labels,
        seeds=tuple(map(Path, args.seeds or ())),
        cache=args.cache or default_cache(),
    )
    _show(found, args)
    return 0


def _show(found: dict[str, Any], args: argparse.Namespace) -> None:
    """Print a report, and write what else was asked for."""
    print("\n".join(_lines(found)))
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")
    if args.plot:
        from emotion.comparison.plots import plot_report

        plot_report(found, args.plot)


def _lines(found: dict[str, Any], indent: str = "") -> list[str]:
    """Readable lines of a report: every figure, then the recalls; nested reports indented."""
    lines = []
    for name, value in found.items():
        if isinstance(value, dict) and "low" in value:
            lines.append(f"{indent}{name:<12} {_interval(name, **value)}")
        elif isinstance(value, dict) and name != "by_threshold":
            lines += [f"{indent}{name}", *_lines(value, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines += [f"{indent}{name}", *(f"{indent}  {row}" for row in value)]
        elif name not in ("confusion", "emotions", "by_threshold"):
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            lines.append(f"{indent}{name:<12} {shown}")
    return lines


def _interval(name: str, value: float, low: float | None, high: float | None) -> str:
    """Write parts of one as percentages, and a concordance, named as its dimension, as it is."""
    shares = name in ("wa", "uar", "macro_f1")
    unit, digits, sign = (100, 1, " %") if shares else (1, 3, "")
    shown = ["?" if x is None else f"{unit * x:.{digits}f}" for x in (value, low, high)]
    return f"{shown[0]:>5}{sign}  [{shown[1]}, {shown[2]}]"
