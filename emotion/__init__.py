"""What a person seems to feel, from face and voice, utterance by utterance.

>>> from emotion import EmotionRecognizer
>>> recognizer = EmotionRecognizer.from_pretrained()
>>> estimates = recognizer.recognize("clip.mp4")  # doctest: +SKIP

Nothing heavy is imported until it is used: `import emotion` does not load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emotion.errors import CheckpointError, CorpusError, EmotionError, InputError, MediaError
    from emotion.estimate import EmotionEstimate, Reading
    from emotion.labels import EMOTIONS, SIX, Emotion
    from emotion.recognizer import EmotionRecognizer

__all__ = [
    "EMOTIONS",
    "SIX",
    "CheckpointError",
    "CorpusError",
    "Emotion",
    "EmotionError",
    "EmotionEstimate",
    "EmotionRecognizer",
    "InputError",
    "MediaError",
    "Reading",
]

_HOME = {
    "EMOTIONS": "labels",
    "SIX": "labels",
    "Emotion": "labels",
    "EmotionEstimate": "estimate",
    "EmotionRecognizer": "recognizer",
    "Reading": "estimate",
} | {name: "errors" for name in __all__ if name.endswith("Error")}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'emotion' has no attribute {name!r}")
    return getattr(import_module(f"emotion.{_HOME[name]}"), name)
