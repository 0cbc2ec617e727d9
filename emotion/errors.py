"""The tree of errors this package raises on purpose.

EmotionError
├── InputError        what was given cannot be read as face, voice or words
│   └── MediaError    a file that cannot be decoded, or holds neither picture nor sound
├── CorpusError       a corpus that is not where it was said to be, or not in its official layout
└── CheckpointError   weights that are missing, damaged, or belong to another model

Every message is one sentence that says what was wanted and what came.
"""

__all__ = ["CheckpointError", "CorpusError", "EmotionError", "InputError", "MediaError"]


class EmotionError(Exception):
    """Root of every error this package raises on purpose."""


class InputError(EmotionError, ValueError):
    """What was given cannot be read as face, voice or words."""


class MediaError(InputError):
    """A file that cannot be decoded, or holds neither picture nor sound."""


class CorpusError(EmotionError, ValueError):
    """A corpus that is not where it was said to be, or not in its official layout."""


class CheckpointError(EmotionError, ValueError):
    """Weights that are missing, damaged, or belong to another model."""
