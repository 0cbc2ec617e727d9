"""The tree of errors this package raises on purpose.

DialogueError
├── InputError    what was given is no conversation, message, feeling or text
├── ModelError    a model that is unknown, damaged, or fails while it answers
└── CorpusError   training conversations that are not where they were said to be

Every message is one sentence that says what was wanted and what came.
"""

__all__ = ["CorpusError", "DialogueError", "InputError", "ModelError"]


class DialogueError(Exception):
    """Root of every error this package raises on purpose."""


class InputError(DialogueError, ValueError):
    """What was given is no conversation, message, feeling or text."""


class ModelError(DialogueError):
    """A model that is unknown, damaged, or fails while it answers."""


class CorpusError(DialogueError, ValueError):
    """Training conversations that are not where they were said to be."""
