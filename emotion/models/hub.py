"""Any audio- or image-classification model of the Hugging Face hub as a branch.

A model comes with its own labels; a table maps them to our seven, so that present-day encoders
(wav2vec 2.0, ViT, ...) are compared on the same splits as the systems of the papers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from emotion.errors import CheckpointError, InputError
from emotion.labels import EMOTIONS, Emotion
from emotion.speech.spectrogram import SAMPLE_RATE_HZ

__all__ = [
    "SYNONYMS",
    "HubFace",
    "HubVoice",
    "emotion_of",
    "load_hub_face",
    "load_hub_voice",
    "load_to_fine_tune",
]

Floats = npt.NDArray[np.float32]

SYNONYMS: Final[Mapping[Emotion, tuple[str, ...]]] = {
    "angry": ("angry", "anger", "ang", "wut"),
    "disgust": ("disgust", "disgusted", "dis"),
    "fear": ("fear", "fearful", "afraid", "scared", "fea"),
    "happy": ("happy", "happiness", "joy", "joyful", "hap", "excited", "exc"),
    "neutral": ("neutral", "neutrality", "neu", "calm"),
    "sad": ("sad", "sadness"),
    "surprise": ("surprise", "surprised", "sur", "ps", "pleasant_surprise", "pleasant_surprised"),
}
"""What models call our emotions, in lower case with "_" between words.

Excited counts as happy, as is usual with IEMOCAP's classes.
"""

_SPEAKERS = re.compile(r"^(female|male|oaf|yaf)_")
_NAMELESS = re.compile(r"label_?\d+|\d+")
_SHORTEST_S = 0.25  # convolutions over waveforms need some samples; a shorter sound is padded


def emotion_of(label: str) -> Emotion | None:
    """Our emotion for a model's label, or None where it has none.

    >>> emotion_of("Happiness"), emotion_of("female_ang"), emotion_of("contempt")
    ('happy', 'angry', None)
    """
    name = _SPEAKERS.sub("", re.sub(r"\W+", "_", label.strip().lower()))
    return next((ours for ours, theirs in SYNONYMS.items() if name in theirs), None)


def load_hub_voice(
    name: str | Path, labels: Sequence[str] | None = None, device: str = "cpu"
) -> HubVoice:
    """Load an audio-classification model.

    Args:
        name: A folder with config.json, preprocessor_config.json and model.safetensors, which is
            read without the network; or a hub id, which is fetched.
        labels: What the model's outputs mean, in order, where it does not say so itself; a word
            that is no emotion of ours leaves an output out.
        device: As torch names it.

    Raises:
        CheckpointError: If it cannot be had, is no such model, or has no classifier of its own.
        InputError: If its labels map to none of ours, or are as many as its outputs are not.
    """
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

    model, extractor = _load(str(name), AutoModelForAudioClassification, AutoFeatureExtractor)
    return HubVoice(str(name), model.to(device), extractor, _mapping(name, model, labels))


def load_hub_face(
    name: str | Path, labels: Sequence[str] | None = None, device: str = "cpu"
) -> HubFace:
    """Load an image-classification model; see `load_hub_voice`."""
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    model, processor = _load(str(name), AutoModelForImageClassification, AutoImageProcessor)
    return HubFace(str(name), model.to(device), processor, _mapping(name, model, labels))


def load_to_fine_tune(name: str | Path) -> tuple[Any, Any]:
    """Load an audio model with a fresh classifier over our emotions, to be trained.

    Args:
        name: A folder or hub id of any audio model that transformers can put a classifier on, also
            one that was only pretrained.

    Returns:
        The network, and what prepares sounds for it.

    Raises:
        CheckpointError: If it cannot be had, or lacks more than the classifier.
    """
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

    labels = dict(enumerate(EMOTIONS))
    return _load(
        str(name),
        AutoModelForAudioClassification,
        AutoFeatureExtractor,
        fresh=True,
        num_labels=len(EMOTIONS),
        id2label=labels,
        label2id={emotion: index for index, emotion in labels.items()},
        ignore_mismatched_sizes=True,
    )


class _Branch:
    """A classifier and the sums that turn its outputs into our emotions.

    Attributes:
        name: Folder or hub id.
        model: The network, of transformers.
        emotions: Those of ours it can say; the others get probability 0.
    """

    def __init__(self, name: str, model: Any, prepare: Any, mapping: Tensor) -> None:
        self.name, self.model, self.prepare = name, model, prepare
        self.mapping = mapping
        self.emotions = tuple(e for e, n in zip(EMOTIONS, mapping.sum(0), strict=True) if n)

    @property
    def parameters(self) -> int:
        """How many weights it has."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def training(self) -> dict[str, Any]:
        """Facts of its training, where `attune train` made it; else nothing is known."""
        return dict(getattr(self.model.config, "attune", None) or {})

    @torch.inference_mode()
    def _said(self, inputs: Any) -> Tensor:
        """Probabilities (sample, emotion), the mass of labels that are none of ours left out."""
        given = {k: v.to(self.model.device) for k, v in inputs.items()}
        logits = self.model(**given).logits.double().cpu()
        many = getattr(self.model.config, "problem_type", None) == "multi_label_classification"
        masses = (logits.sigmoid() if many else logits.softmax(-1)) @ self.mapping
        # where all mass lies on other labels nothing is known, and every label is as likely
        rest = torch.finfo(torch.float32).tiny * (self.mapping.sum(0) > 0)
        masses = masses + rest
        said: Tensor = (masses / masses.sum(-1, keepdim=True)).float()
        return said


class HubVoice(_Branch):
    """An audio classifier as the voice branch; made by `load_hub_voice`."""

    def probabilities(self, waveforms: Sequence[Floats]) -> Floats:
        """Classify clips, one by one: not every such model can tell padding from sound.

        Args:
            waveforms: Each (sample,) float32 in [-1, 1] at 16 kHz.

        Returns:
            (clip, emotion), rows summing to 1.
        """
        if not len(waveforms):
            return np.zeros((0, len(EMOTIONS)), np.float32)
        bar = tqdm(
            waveforms, unit="clip", leave=False, mininterval=2.0, disable=len(waveforms) < 20
        )
        said: Floats = torch.cat([self._said(self._heard(w)) for w in bar]).numpy()
        return said

    def _heard(self, waveform: Floats) -> Any:
        from torchaudio.functional import resample

        if waveform.ndim != 1:
            raise InputError(f"Expected a waveform (sample,), got shape {waveform.shape}.")
        missing = round(_SHORTEST_S * SAMPLE_RATE_HZ) - len(waveform)
        sound = torch.from_numpy(np.pad(waveform, (0, max(0, missing))))
        rate_hz = self.prepare.sampling_rate
        heard = resample(sound, SAMPLE_RATE_HZ, rate_hz).numpy()
        return self.prepare(heard, sampling_rate=rate_hz, return_tensors="pt")


class HubFace(_Branch):
    """An image classifier as the face branch; made by `load_hub_face`."""

    def probabilities(self, images: Sequence[npt.NDArray[np.uint8]], batch: int = 32) -> Floats:
        """Classify face crops.

        Args:
            images: uint8, each (height, width, 3) RGB or (height, width), any size.
            batch: How many at once.

        Returns:
            (image, emotion), rows summing to 1.
        """
        said = [np.zeros((0, len(EMOTIONS)), np.float32)]
        for start in range(0, len(images), batch):
            pictures = [_in_colour(image) for image in images[start : start + batch]]
            inputs = self.prepare(
                images=pictures, return_tensors="pt", input_data_format="channels_last"
            )
            said.append(self._said(inputs).numpy())
        return np.concatenate(said)


def _in_colour(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """RGB (height, width, 3) of a picture (height, width[, 3])."""
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)):
        raise InputError(
            "Expected a uint8 face crop (height, width, 3) or (height, width), "
            f"got {image.dtype} of shape {image.shape}."
        )
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def _mapping(name: str | Path, model: Any, labels: Sequence[str] | None) -> Tensor:
    """Make the sums (output, emotion) that turn a model's outputs into ours.

    Raises:
        InputError: If the labels do not fit the outputs, are no names, or none is one of ours.
    """
    own = [model.config.id2label[i] for i in range(model.config.num_labels)]
    if labels is not None and len(labels) != len(own):
        raise InputError(f"Expected {len(own)} labels, one an output of {name}, got {len(labels)}.")
    if labels is None and all(_NAMELESS.fullmatch(label.lower()) for label in own):
        raise InputError(
            f"Expected labels with names in {name}, got {', '.join(own)}: "
            "say what they mean with --labels."
        )
    meant = [emotion_of(label) for label in labels or own]
    if not any(meant):
        wanted = ", ".join(EMOTIONS)
        raise InputError(f"Expected labels for {wanted} in {name}, got {', '.join(labels or own)}.")
    mapping = torch.zeros(len(own), len(EMOTIONS), dtype=torch.float64)
    for output, emotion in enumerate(meant):
        if emotion is not None:
            mapping[output, EMOTIONS.index(emotion)] = 1
    return mapping


def _load(
    name: str, model_class: Any, prepare_class: Any, *, fresh: bool = False, **options: Any
) -> tuple[Any, Any]:
    """Read a model and what prepares its inputs; never a pickle, never code of the model's own.

    With `fresh` its classifier may be missing, else nothing.
    """
    here = Path(name).is_dir()
    if not here and (Path(name).is_absolute() or name.count("/") != 1 or name.startswith(".")):
        raise CheckpointError(f"Expected a model's folder or hub id (organisation/model): {name}.")
    options |= {"local_files_only": here, "trust_remote_code": False}
    try:
        with _quiet():
            prepare = prepare_class.from_pretrained(name, local_files_only=here)
            model, found = model_class.from_pretrained(
                name, use_safetensors=True, output_loading_info=True, **options
            )
    except Exception as error:  # damaged files raise what their reader likes
        wanted = model_class.__name__.removeprefix("AutoModelFor")
        raise CheckpointError(
            f"Expected a model of {wanted} with its preprocessor and safetensors at {name}, "
            f"got: {str(error).splitlines()[0] if str(error) else repr(error)}"
        ) from error
    inside = f"{model.base_model_prefix}."
    missing = sorted(k for k in found["missing_keys"] if k.startswith(inside) or not fresh)
    if missing:
        wanted = "model" if fresh else "classifier"
        raise CheckpointError(f"Expected a trained {wanted} in {name}, found no {missing[0]}.")
    return model.eval(), prepare


@contextmanager
def _quiet() -> Iterator[None]:
    """Show neither a progress bar for what is read from a folder nor a report of its keys."""
    from transformers.utils import logging

    level, shown = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
