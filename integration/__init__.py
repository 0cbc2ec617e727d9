"""Joins emotion and dialogue into one conversation; knows neither Gradio nor any network.

>>> from integration import EmotionAwareAgent
>>> agent = EmotionAwareAgent(reply=lambda messages: f"{len(messages)} message")
>>> agent.respond("Hello there.", None)
'1 message'

Nothing heavy is imported until it is used: `import integration` does not load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from integration.errors import IntegrationError, TranscriptionError
    from integration.parts import Parts
    from integration.pipeline import Pipeline
    from integration.plugin import EmotionAwareAgent
    from integration.session import Session, Turn
    from integration.settings import Settings
    from integration.transcription import Transcriber
    from integration.translation import to_affect

__all__ = [
    "EmotionAwareAgent",
    "IntegrationError",
    "Parts",
    "Pipeline",
    "Session",
    "Settings",
    "Transcriber",
    "TranscriptionError",
    "Turn",
    "to_affect",
]

_HOME = {
    "EmotionAwareAgent": "plugin",
    "IntegrationError": "errors",
    "Parts": "parts",
    "Pipeline": "pipeline",
    "Session": "session",
    "Settings": "settings",
    "Transcriber": "transcription",
    "TranscriptionError": "errors",
    "Turn": "session",
    "to_affect": "translation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'integration' has no attribute {name!r}")
    return getattr(import_module(f"integration.{_HOME[name]}"), name)
