"""The tree of errors this package raises on purpose.

IntegrationError
└── TranscriptionError   speech that cannot be written down, or a transcriber that is not there

Every message is one sentence that says what was wanted and what came.
"""

__all__ = ["IntegrationError", "TranscriptionError"]


class IntegrationError(Exception):
    """Root of every error this package raises on purpose."""


class TranscriptionError(IntegrationError, ValueError):
    """Speech that cannot be written down, or a transcriber that is not there."""
