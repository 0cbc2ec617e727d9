"""What to say to a person, given their words and how they seem to feel.

>>> from dialogue import UserAffect, load_model
>>> model = load_model()
>>> sad = UserAffect("sad", confidence=0.7, channels=("face", "voice"), agreement=0.9)
>>> answer = model.reply([{"role": "user", "content": "My dog ran away."}], affect=sad)

Nothing heavy is imported until it is used: `import dialogue` does not load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dialogue.affect import CHANNELS, FEELINGS, POLICIES, Policy, UserAffect, policy_for
    from dialogue.conditioning import condition, full_note, short_note
    from dialogue.conversation import Conversation, Message
    from dialogue.danger import find_danger
    from dialogue.errors import CorpusError, DialogueError, InputError, ModelError
    from dialogue.models.base import DialogueModel, load_model
    from dialogue.prefix import EmotionPrefix

__all__ = [
    "CHANNELS",
    "FEELINGS",
    "POLICIES",
    "Conversation",
    "CorpusError",
    "DialogueError",
    "DialogueModel",
    "EmotionPrefix",
    "InputError",
    "Message",
    "ModelError",
    "Policy",
    "UserAffect",
    "condition",
    "find_danger",
    "full_note",
    "load_model",
    "policy_for",
    "short_note",
]

_HOME = {
    **dict.fromkeys(
        ("CHANNELS", "FEELINGS", "POLICIES", "Policy", "UserAffect", "policy_for"), "affect"
    ),
    **dict.fromkeys(("condition", "full_note", "short_note"), "conditioning"),
    **dict.fromkeys(("Conversation", "Message"), "conversation"),
    **dict.fromkeys(("CorpusError", "DialogueError", "InputError", "ModelError"), "errors"),
    **dict.fromkeys(("DialogueModel", "load_model"), "models.base"),
    "EmotionPrefix": "prefix",
    "find_danger": "danger",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'dialogue' has no attribute {name!r}")
    return getattr(import_module(f"dialogue.{_HOME[name]}"), name)
