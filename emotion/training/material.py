"""What networks are shown of clips: vectors by encoders, or crops and spectrograms themselves."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from tqdm import tqdm

from emotion import checkpoint
from emotion.errors import CheckpointError, CorpusError, InputError
from emotion.face.landmarks import landmark_distances
from emotion.models.adaptive_voice import AdaptiveVoice
from emotion.models.attention_fcn import AttentionFCN
from emotion.models.face_backbones import FaceEncoder
from emotion.models.face_cnn import FaceCNN, prepare_crops
from emotion.models.frames import shuffled_frames
from emotion.models.hybrid import distance_statistics
from emotion.models.soundnet import SoundNet
from emotion.perception import pick_device
from emotion.speech.functionals import compare, egemaps
from emotion.speech.spectrogram import AMPLITUDE_FLOOR, BINS, SAMPLES_PER_WINDOW, log_spectrogram
from emotion.training.clips import ClipStore
from emotion.training.loop import device_of

__all__ = [
    "Encoders",
    "Features",
    "Functionals",
    "Material",
    "Pictures",
    "Show",
    "hearing",
    "looked_at",
    "measured",
]

Arrays = Mapping[str, npt.NDArray[Any]]
Functionals = Literal["egemaps", "compare"]

_FACES_AT_ONCE = 64
_KINDS = {
    "face": ("FaceCNN", "FaceEncoder"),
    "voice": ("AttentionFCN", "AdaptiveVoice"),
    "soundnet": ("SoundNet",),
}


# ----------------------------------------------------------------------------------- encoders


@dataclass(frozen=True)
class Encoders:
    """Networks that turn faces and voices into vectors, by name, and where they were read from.

    The names "voice" and "soundnet" are of networks that listen; every other one sees faces.
    """

    models: dict[str, nn.Module]
    folders: dict[str, Path]

    @classmethod
    def find(cls, init: Path | None, names: Sequence[str]) -> Encoders:
        """Read encoders from a folder, bundled ones in place of those it does not hold.

        Without weights of its own SoundNet hears nothing, so it may be missing in the end.

        Args:
            init: A folder of checkpoints by name, or one checkpoint, which stands for every name
                of its kind; None for the bundled ones.
            names: Which are needed.

        Raises:
            CheckpointError: If a checkpoint is damaged or no encoder.
        """
        folders = {name: _folder(init, name) for name in names}
        if init is not None and not any(f and f.is_relative_to(init) for f in folders.values()):
            raise CheckpointError(
                f"Expected a checkpoint or a folder of {' or '.join(names)} at {init}, found none."
            )
        return cls.read({name: folder for name, folder in folders.items() if folder is not None})

    @classmethod
    def read(cls, folders: Mapping[str, Path]) -> Encoders:
        """Read encoders from their folders.

        Raises:
            CheckpointError: If a checkpoint is missing, damaged or no encoder of its kind.
        """
        return cls({name: _encoder(name, path) for name, path in folders.items()}, dict(folders))

    @classmethod
    def faces_in(cls, folder: Path) -> tuple[str, ...]:
        """Names of the checkpoints of face networks in a folder, in alphabetical order."""
        found = sorted(path.parent for path in folder.glob(f"*/{checkpoint.CONFIG_FILE}"))
        return tuple(p.name for p in found if checkpoint.read(p).architecture in _KINDS["face"])

    @property
    def digests(self) -> dict[str, str]:
        """Sha256 of each encoder's weights."""
        return {name: checkpoint.digest(folder) for name, folder in self.folders.items()}

    @property
    def speakers(self) -> set[str]:
        """Who was in their own trainings, as their checkpoints tell."""
        facts = [checkpoint.read(folder).training for folder in self.folders.values()]
        return {speaker for known in facts for speaker in known.get("speakers", ())}

    def features(self, name: str) -> int:
        """Size of the vectors of one."""
        size: int = cast(Any, self.models[name]).config.features
        return size

    def copy(self, folder: Path) -> None:
        """Keep the encoders in a folder, each under its name."""
        for name, source in self.folders.items():
            target = folder / name
            target.mkdir(parents=True, exist_ok=True)
            for file in (checkpoint.WEIGHTS_FILE, checkpoint.CONFIG_FILE):
                if source.resolve() != target.resolve():
                    shutil.copyfile(source / file, target / file)


def _kind(name: str) -> str:
    return name if name in ("voice", "soundnet") else "face"


def _folder(init: Path | None, name: str) -> Path | None:
    """Where an encoder is, if anywhere."""
    if init is not None and (init / name).is_dir():
        return init / name
    own = init is not None and (init / checkpoint.CONFIG_FILE).is_file()
    if init is not None and own and checkpoint.read(init).architecture in _KINDS[_kind(name)]:
        return init
    return None if name == "soundnet" else checkpoint.bundled(_kind(name))


def _encoder(name: str, folder: Path) -> nn.Module:
    model: nn.Module = checkpoint.load(folder)
    wanted, got = _KINDS[_kind(name)], type(model).__name__
    if got not in wanted:
        raise CheckpointError(f"Expected {' or '.join(wanted)} in {folder}, got {got}.")
    return model.requires_grad_(False).to(pick_device("auto"))


@torch.inference_mode()
def _face_features(model: nn.Module, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float16]:
    """Vectors (frame, feature) of crops (frame, side, side[, 3])."""
    pieces = []
    for start in range(0, len(crops), _FACES_AT_ONCE):
        batch = crops[start : start + _FACES_AT_ONCE]
        if isinstance(model, FaceCNN):
            vectors = model.features(prepare_crops(list(batch)).to(device_of(model)))
        else:
            vectors = cast(FaceEncoder, model).features(_channels_first(batch).to(device_of(model)))
        pieces.append(vectors.cpu())
    size: int = cast(Any, model).config.features
    features = torch.cat(pieces) if pieces else torch.zeros(0, size)
    return features.numpy().astype(np.float16)


def _channels_first(crops: npt.NDArray[np.uint8]) -> Tensor:
    """Crops (frame, side, side[, 3]) as (frame, channel, side, side)."""
    levels = torch.from_numpy(np.ascontiguousarray(crops))
    return levels[:, None] if levels.ndim == 3 else levels.permute(0, 3, 1, 2)


@torch.inference_mode()
def _sound_feature(model: nn.Module, waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Vector (feature,) of a sound (sample,); empty where it is shorter than a window."""
    if len(waveform) < SAMPLES_PER_WINDOW:
        return np.zeros(0, np.float32)
    sound = torch.from_numpy(np.ascontiguousarray(waveform))[None].to(device_of(model))
    if isinstance(model, AttentionFCN | AdaptiveVoice):
        vectors: Tensor = model(log_spectrogram(sound)).feature
    else:
        vectors = cast(SoundNet, model).features(sound)
    feature: npt.NDArray[np.float32] = vectors[0].float().cpu().numpy()
    return feature


def looked_at(store: ClipStore, encoders: Encoders, name: str) -> list[npt.NDArray[Any]]:
    """Let one encoder look at, or listen to, each clip; what it makes of a clip is cached.

    Args:
        store: The clips.
        encoders: Has it.
        name: Which.

    Returns:
        Of each clip (frame, feature) float16 of its faces, or (feature,) float32 of its sound,
        empty where there is none.
    """
    model, what = encoders.models[name], encoders.digests[name][:16]

    def make(index: int) -> dict[str, npt.NDArray[Any]]:
        if _kind(name) == "face":
            return {"features": _face_features(model, store[index].crops)}
        return {"features": _sound_feature(model, store[index].waveform)}

    return _each(store, what, make, name)


def _each(
    store: ClipStore, what: str, make: Callable[[int], Arrays], title: str
) -> list[npt.NDArray[Any]]:
    """Features of each clip, made once and cached."""
    return [
        store.derived(index, what, partial(make, index))["features"]
        for index in tqdm(range(len(store)), desc=title, mininterval=2.0)
    ]


# ---------------------------------------------------------------- vectors for machines


def measured(
    store: ClipStore, name: str, encoders: Encoders, functionals: Functionals
) -> list[npt.NDArray[Any]]:
    """Measure one vector (feature,) of each clip, empty where it has no face or no sound.

    Args:
        store: The clips.
        name: "landmarks": mean, deviation and largest of the distances between 68 points;
            "functionals": by openSMILE; "soundnet": by SoundNet.
        encoders: Have SoundNet, where it is asked for.
        functionals: Which of openSMILE's sets.

    Raises:
        InputError: If the name is another, or openSMILE is not installed.
    """
    if name == "soundnet":
        return looked_at(store, encoders, name)
    if name == "landmarks":
        return [_distances(store[index].landmarks) for index in range(len(store))]
    if name != "functionals":
        raise InputError(f"Expected landmarks, functionals or soundnet, got {name!r}.")
    listen = hearing(functionals)

    def make(index: int) -> Arrays:
        sound = store[index].waveform
        short = len(sound) < SAMPLES_PER_WINDOW
        return {"features": np.zeros(0, np.float32) if short else listen([sound])[0]}

    return _each(store, functionals, make, name)


def hearing(
    functionals: Functionals,
) -> Callable[[Sequence[npt.NDArray[np.float32]]], npt.NDArray[np.float32]]:
    """Choose what computes one of openSMILE's sets."""
    return egemaps if functionals == "egemaps" else compare


def _distances(landmarks: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    """Statistics (feature,) of the distances between landmarks (frame, point, xy)."""
    if not len(landmarks):
        return np.zeros(0)
    return distance_statistics(landmark_distances(landmarks))


# ---------------------------------------------------------------- what networks are shown


class Material(Protocol):
    """Clips in the form a network takes them."""

    @property
    def labels(self) -> Tensor:
        """(clip,) index into EMOTIONS."""
        ...

    def inputs(self, chosen: Sequence[int], show: Show | None) -> tuple[Tensor, ...]:
        """Give what the network's forward takes of some clips; `show` changes it for training."""
        ...


@dataclass(frozen=True)
class Show:
    """How clips are shown in one step of training.

    Attributes:
        frames: Most frames of a clip, drawn anew each time.
        shuffled: Whether in random order, else in that of time.
        no_face: Part of the clips without a face.
        no_voice: Part of the clips without a voice; no clip is without both.
        generator: Source of randomness.
    """

    frames: int
    shuffled: bool
    no_face: float
    no_voice: float
    generator: torch.Generator

    def some(self, frames: Tensor) -> Tensor:
        """Draw those frames (frame, ...) that are shown."""
        if len(frames) <= self.frames:
            return frames
        drawn = torch.randperm(len(frames), generator=self.generator)[: self.frames]
        return frames[drawn.sort().values]

    def mirrored(self, crops: Tensor) -> Tensor:
        """Mirror a clip's crops (frame, channel, height, width) half of the time."""
        return crops.flip(-1) if torch.rand(1, generator=self.generator) < 0.5 else crops

    def without(self, mask: Tensor, spoken: Tensor) -> tuple[Tensor, Tensor]:
        """Take the face from some clips, mask (clip, frame), and from others the voice, (clip,)."""
        chance = torch.rand(len(mask), generator=self.generator)
        faceless = (chance < self.no_face) & spoken
        mute = (chance >= 1 - self.no_voice) & mask.any(dim=1)
        return mask & ~faceless[:, None], spoken & ~mute


@dataclass(frozen=True)
class Features:
    """What frozen encoders made of clips.

    Attributes:
        frames: (frame, feature) float16 of each clip.
        voices: (clip, feature), zeros where there is none; None for a system without ears.
        spoken: (clip,) bool.
        labels: (clip,).
    """

    frames: list[Tensor]
    voices: Tensor | None
    spoken: Tensor
    labels: Tensor

    @classmethod
    def of(cls, store: ClipStore, encoders: Encoders, face: str, voice: str | None) -> Features:
        """Let the encoders look at all clips."""
        frames = [torch.from_numpy(x) for x in looked_at(store, encoders, face)]
        labels = torch.from_numpy(store.labels)
        if voice is None:
            return cls(frames, None, torch.zeros(len(store), dtype=torch.bool), labels)
        heard = [torch.from_numpy(x) for x in looked_at(store, encoders, voice)]
        silent = torch.zeros(encoders.features(voice))
        voices = torch.stack([x if len(x) else silent for x in heard]) if heard else silent[None]
        spoken = torch.tensor([len(x) > 0 for x in heard], dtype=torch.bool)
        return cls(frames, voices, spoken, labels)

    @property
    def of_frames(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation (feature,) over the frames of all clips.

        Raises:
            CorpusError: If no clip has a face.
        """
        seen = [rows.double() for rows in self.frames if len(rows)]
        if not seen:
            raise CorpusError(f"Expected clips with a face, got none among {len(self.frames)}.")
        count = sum(map(len, seen))
        mean = torch.stack([rows.sum(dim=0) for rows in seen]).sum(dim=0) / count
        squares = torch.stack([(rows - mean).square().sum(dim=0) for rows in seen]).sum(dim=0)
        return mean, (squares / count).sqrt()

    @property
    def of_voices(self) -> tuple[Tensor, Tensor] | None:
        """Mean and deviation (feature,) over the voices; None where there are none."""
        if self.voices is None or not self.spoken.any():
            return None
        heard = self.voices[self.spoken]
        return heard.mean(dim=0), heard.std(dim=0, correction=0)

    def inputs(self, chosen: Sequence[int], show: Show | None) -> tuple[Tensor, ...]:
        """Frames (batch, frame, feature), mask (batch, frame), voice (batch, feature) and mask."""
        rows = [self.frames[i].float() for i in chosen]
        if show is not None:
            rows = [show.some(row) for row in rows]
        frames, mask = _padded(rows)
        spoken = self.spoken[list(chosen)]
        if show is not None and self.voices is not None:
            mask, spoken = show.without(mask, spoken)
        if show is not None and show.shuffled:
            frames = shuffled_frames(frames, mask, show.generator)
        return (
            (frames, mask)
            if self.voices is None
            else (frames, mask, self.voices[list(chosen)], spoken)
        )


@dataclass(frozen=True)
class Pictures:
    """Clips as crops and spectrograms, read anew each time: for encoders that learn.

    Attributes:
        store: The clips.
        labels: (clip,).
        masks_voices: Whether the network takes a mask of the clips that have a voice.
    """

    store: ClipStore
    labels: Tensor
    masks_voices: bool

    def inputs(self, chosen: Sequence[int], show: Show | None) -> tuple[Tensor, ...]:
        """Crops (batch, frame, channel, side, side), mask, spectrogram (batch, time, bin), lengths.

        And, where the network takes it, which clips (batch,) have a voice.
        """
        clips = [self.store[i] for i in chosen]
        rows = [_channels_first(clip.crops) for clip in clips]
        if show is not None:
            rows = [show.mirrored(show.some(row)) for row in rows]
        frames, mask = _padded(rows)
        heard = [_spectrogram(clip.waveform) for clip in clips]
        spoken = torch.tensor([len(clip.waveform) >= SAMPLES_PER_WINDOW for clip in clips])
        if show is not None:
            mask, spoken = show.without(mask, spoken)
        lengths = torch.tensor([len(row) for row in heard])
        sounds = nn.utils.rnn.pad_sequence(heard, batch_first=True)
        return (frames, mask, sounds, lengths, *((spoken,) if self.masks_voices else ()))


def _spectrogram(waveform: npt.NDArray[np.float32]) -> Tensor:
    """Log spectrogram (time, bin) of (sample,); of less than a window, one moment of silence."""
    if len(waveform) < SAMPLES_PER_WINDOW:
        return torch.full((1, BINS), float(np.log(AMPLITUDE_FLOOR)))
    return log_spectrogram(torch.from_numpy(np.ascontiguousarray(waveform))[None])[0]


def _padded(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Stack (frame, ...) to (batch, frame, ...) of at least one frame; and mask (batch, frame)."""
    lengths = torch.tensor([len(row) for row in rows])
    size = max(1, int(lengths.max()))
    stacked = rows[0].new_zeros(len(rows), size, *rows[0].shape[1:])
    for target, row in zip(stacked, rows, strict=True):
        target[: len(row)] = row
    return stacked, torch.arange(size) < lengths[:, None]
