"""Trains and scores the end-to-end network of arousal and valence (Tzirakis et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from emotion import checkpoint
from emotion.errors import CheckpointError
from emotion.face.tracker import FaceFinder
from emotion.models.end_to_end import EndToEnd, EndToEndConfig, State
from emotion.training.continuous import (
    Piece,
    Recording,
    continuous_facts,
    continuous_report,
    load_recordings,
)
from emotion.training.loop import (
    Figures,
    Schedule,
    device_of,
    fit,
    initialised,
    mixed_precision,
)
from emotion.training.losses import concordance_loss
from emotion.training.postprocessing import PostProcessingSearch

__all__ = [
    "RECIPES",
    "EndToEndRecipe",
    "EndToEndTask",
    "prepare_faces",
    "rate_recording",
    "score_continuous",
    "score_end_to_end",
    "train_end_to_end",
]

TRAINED_ON: Final = "train"
DEVELOPED_ON: Final = "valid"

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EndToEndRecipe:
    """Trains `EndToEnd` on recordings that are rated all the time.

    Attributes:
        config: The network.
        schedule: An example is one sequence. The paper's Adam with 1e-4 is AdamW without weight
            decay, here along the loop's falling rate. The CCC of a step's loss is over all its
            sequences, so dividing a step over processes or parts changes it.
        corpus: A name in `emotion.corpora.registry.CORPORA` with parts "train" and "valid".
        steps: Length of a sequence; 150 steps are 6 s. In training each begins with an empty
            state, so that a step depends on nothing but its examples; recordings are rated piece
            by piece, the LSTM's state going from each to the next.
        context: Steps before each sequence that are heard and seen in training but not scored, so
            that its first steps have a past as they have in a recording.
        enlarged: Side to which crops are enlarged before a part of the network's side is cut out:
            at a random place in training, in the middle otherwise.
        mirrored: Part of the training sequences whose faces are mirrored.
        search: What post-processing is tried on the development set.
    """

    config: EndToEndConfig = field(default_factory=EndToEndConfig)
    schedule: Schedule = field(
        default_factory=lambda: Schedule(
            epochs=30, batch=2, learning_rate=1e-4, warmup=0.0, weight_decay=0.0, average=0.99
        )
    )
    corpus: str = "recola"
    steps: int = 150
    context: int = 0
    enlarged: int = 110
    mirrored: float = 0.0
    search: PostProcessingSearch = field(default_factory=PostProcessingSearch)

    def __post_init__(self) -> None:
        if self.steps < 1 or self.context < 0 or not 0 <= self.mirrored <= 1:
            raise ValueError(f"Expected steps >= 1, context >= 0, mirrored in [0, 1], got {self}.")
        if self.enlarged < self.config.side:
            raise ValueError(
                f"Expected crops enlarged to at least {self.config.side}, got {self.enlarged}."
            )


RECIPES: Final = {
    "end-to-end": EndToEndRecipe(),
    "end-to-end-audio": EndToEndRecipe(EndToEndConfig("audio")),
    "end-to-end-video": EndToEndRecipe(EndToEndConfig("video")),
}
"""The paper's network and its unimodal versions, all trained by `train_end_to_end`."""


def train_end_to_end(
    recipe: EndToEndRecipe,
    root: Path,
    out: Path,
    *,
    cache: Path | None,
    resume: bool = False,
    finder: FaceFinder | None = None,
) -> EndToEnd:
    """Train on the part "train"; `out` keeps the epoch that agrees best with "valid".

    Args:
        recipe: What to do.
        root: Folder of corpora.
        out: Folder of the checkpoint.
        cache: Folder for prepared sound and faces; None prepares them in memory, each time.
        resume: Go on where a killed training stopped.
        finder: Finds the faces; None is MTCNN.

    Raises:
        CorpusError: If the corpus, one of the two parts, a modality or a rating is not there.
    """
    train, development = (
        _recordings(recipe.config, recipe.corpus, root, split, cache, finder)
        for split in (TRAINED_ON, DEVELOPED_ON)
    )
    fit(EndToEndTask(recipe, train, development, out), recipe.schedule, out, resume=resume)
    model: EndToEnd = checkpoint.load(out)
    return model


class EndToEndTask:
    """Sequences of recordings, each once an epoch."""

    def __init__(
        self,
        recipe: EndToEndRecipe,
        train: Sequence[Recording],
        development: Sequence[Recording],
        out: Path,
    ) -> None:
        self.recipe, self.train, self.development, self.out = recipe, train, development, out
        self.model: nn.Module = initialised(lambda: EndToEnd(recipe.config), recipe.schedule.seed)
        self.places = [
            (recording, start)
            for recording in train
            for start in range(0, len(recording), recipe.steps)
        ]

    def order(self, batch: int, generator: torch.Generator) -> list[Tensor]:
        """List every sequence (example,) once, shuffled."""
        return list(torch.split(torch.randperm(len(self.places), generator=generator), batch))

    def loss(self, indices: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        """1 − CCC over the sequences (example,), without their contexts."""
        device, steps = device_of(self.model), self.recipe.steps
        places = [self.places[i] for i in indices.tolist()]
        starts = [max(0, start - self.recipe.context) for _, start in places]
        pieces = [
            recording.piece(first, start + steps)
            for first, (recording, start) in zip(starts, places, strict=True)
        ]
        contexts = [start - first for first, (_, start) in zip(starts, places, strict=True)]
        lengths = torch.tensor([len(piece.truth) for piece in pieces])
        along = torch.arange(int(lengths.max()))
        mask = along < lengths[:, None]
        counted = mask & (along >= torch.tensor(contexts)[:, None])
        waveform, faces = self._inputs(pieces, generator)
        with mixed_precision(self.model):
            output = self.model(_to(waveform, device), _to(faces, device), mask.to(device))
        truth = pad_sequence([torch.from_numpy(piece.truth) for piece in pieces], True)
        return concordance_loss(output.ratings, truth.to(device), counted.to(device))

    def _inputs(
        self, pieces: Sequence[Piece], generator: torch.Generator
    ) -> tuple[Tensor | None, Tensor | None]:
        """Waveform (batch, step, sample) and faces (batch, step, channel, height, width)."""
        config, waveform, faces = self.recipe.config, None, None
        if config.hears:
            waveform = pad_sequence([torch.from_numpy(p.waveform) for p in pieces], True)
        if config.sees:
            cut = [
                prepare_faces(
                    torch.from_numpy(p.crops),
                    config.side,
                    self.recipe.enlarged,
                    mirrored=self.recipe.mirrored,
                    generator=generator,
                )
                for p in pieces
            ]
            faces = pad_sequence(cut, True)
        return waveform, faces

    def epoch_done(self, averaged: nn.Module, epoch: int) -> Figures:
        """Rate the development set, choose the post-processing, keep the best epoch so far."""
        truth = [recording.truth for recording in self.development]
        said = [rate_recording(averaged, r, self.recipe) for r in self.development]
        facts = continuous_facts(said, truth, self.recipe.config.dimensions, self.recipe.search)
        figures = {"ccc": facts["development"]["mean"]} | {
            f"ccc {name}": facts["development"][name] for name in self.recipe.config.dimensions
        }
        if epoch == 0 or figures["ccc"] > _best_so_far(self.out):
            facts |= {
                "recipe": self._name,
                "corpora": [self.recipe.corpus],
                "speakers": [recording.clip.speaker for recording in self.train],
                "held_out_speakers": [r.clip.speaker for r in self.development],
                "seed": self.recipe.schedule.seed,
                "epochs": epoch + 1,
                "steps": self.recipe.steps,
                "enlarged": self.recipe.enlarged,
            }
            checkpoint.save(self.out, averaged, self.recipe.config, training=facts)
        return figures

    @property
    def _name(self) -> str:
        modalities = self.recipe.config.modalities
        return "end-to-end" if modalities == "both" else f"end-to-end-{modalities}"


@torch.inference_mode()
def rate_recording(model: nn.Module, recording: Recording, recipe: EndToEndRecipe) -> Floats:
    """Ratings (step, dimension) of a whole recording, the state going from piece to piece."""
    device, config = device_of(model), recipe.config
    state: State | None = None
    ratings = []
    for start in range(0, len(recording), recipe.steps):
        piece = recording.piece(start, start + recipe.steps)
        waveform = torch.from_numpy(piece.waveform)[None] if config.hears else None
        faces = None
        if config.sees:
            crops = torch.from_numpy(piece.crops)
            faces = prepare_faces(crops, config.side, recipe.enlarged)[None]
        output = model(_to(waveform, device), _to(faces, device), None, state)
        state = output.state
        ratings.append(output.ratings[0].cpu().numpy())
    joined: Floats = np.concatenate(ratings)
    return joined


def prepare_faces(
    crops: Tensor,
    side: int,
    enlarged: int,
    *,
    mirrored: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Enlarge the crops of one sequence and cut one square out of them all.

    Args:
        crops: (step, height, width, channel) RGB uint8.
        side: Wanted height and width.
        enlarged: Side before the cut.
        mirrored: How likely the sequence is mirrored.
        generator: Source of randomness; None cuts out the middle and mirrors nothing.

    Returns:
        (step, channel, side, side) in [0, 1].
    """
    levels = crops.permute(0, 3, 1, 2).float() / 255
    if levels.shape[-2:] != (enlarged, enlarged):
        levels = functional.interpolate(levels, (enlarged, enlarged), mode="bilinear")
    top = left = (enlarged - side) // 2
    if generator is not None:
        top, left = torch.randint(enlarged - side + 1, (2,), generator=generator).tolist()
        if torch.rand(1, generator=generator) < mirrored:
            levels = levels.flip(-1)
    return levels[..., top : top + side, left : left + side]


def score_end_to_end(
    folder: Path,
    root: Path,
    *,
    split: str = "test",
    cache: Path | None = None,
    finder: FaceFinder | None = None,
) -> dict[str, Any]:
    """Score a checkpoint of `train_end_to_end`: CCC with 95 % intervals by recording.

    Args:
        folder: Of the checkpoint.
        root: Folder of corpora.
        split: Part of the corpus.
        cache: Folder of prepared sound and faces, or None.
        finder: Finds the faces; None is MTCNN.

    Returns:
        What `continuous_report` does.

    Raises:
        CheckpointError: If the checkpoint is of another network.
        CorpusError: If the part, a modality or a rating is not there.
    """
    stored = checkpoint.read(folder)
    if stored.architecture != "EndToEnd":
        raise CheckpointError(f"Expected an EndToEnd in {folder}, got {stored.architecture}.")
    facts, model = stored.training, checkpoint.load(folder)
    recipe = replace(EndToEndRecipe(model.config), steps=facts["steps"], enlarged=facts["enlarged"])
    (corpus,) = facts["corpora"]
    recordings = _recordings(model.config, corpus, root, split, cache, finder)
    said = [rate_recording(model, recording, recipe) for recording in recordings]
    return continuous_report(said, recordings, facts, split)


def score_continuous(
    folder: Path, root: Path, *, split: str = "test", cache: Path | None = None
) -> dict[str, Any]:
    """Score any checkpoint of continuous ratings, an end-to-end network or a regression.

    Returns:
        What `continuous_report` does.

    Raises:
        CheckpointError: If the checkpoint is missing, damaged or rates nothing continuously.
        CorpusError: If the part, a modality or a rating is not there.
    """
    from emotion.training.svr import score_svr

    regression = checkpoint.read(folder).architecture == "WindowedSVR"
    return (score_svr if regression else score_end_to_end)(folder, root, split=split, cache=cache)


def _recordings(
    config: EndToEndConfig,
    corpus: str,
    root: Path,
    split: str,
    cache: Path | None,
    finder: FaceFinder | None,
) -> list[Recording]:
    return load_recordings(
        root,
        split,
        cache=cache,
        corpus=corpus,
        dimensions=config.dimensions,
        sound=config.hears,
        faces=config.sees,
        finder=finder,
    )


def _best_so_far(out: Path) -> float:
    """CCC of the epoch that is kept: it is on the disk, so a resumed training knows it too."""
    best: float = checkpoint.read(out).training["development"]["mean"]
    return best


def _to(tensor: Tensor | None, device: torch.device) -> Tensor | None:
    return None if tensor is None else tensor.to(device)
