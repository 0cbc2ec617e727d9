"""What is wrong with a drawn answer, and what is said where none will do.

A model this small often misreads. What it should not say to a person can be told from the words by
rules that anybody can read and mend; where all it has to say breaks them, it says something short
that is true of any such talk. English only.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Final

from dialogue.affect import Act, UserAffect, policy_for
from dialogue.conditioning import over_attributes
from dialogue.text import bare

__all__ = ["SAFE", "beyond", "faults", "is_grave", "is_late", "safe_answer"]

GRAVE_FROM: Final = 1.0
"""Faults from which an answer is not said."""
GRAVE_LATER_FROM: Final = 0.5
"""The same late in a talk."""
LATER_TURNS: Final = 5
_STEM: Final = 5
"""Letters by which kindred words are alike."""

_NUMBER: Final = (
    r"(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen"
    r"|(?:twen|thir|for|fif|six|seven|eigh|nine)ty)"
)
_TIME: Final = (
    r"(?:ago|yesterday|today|tomorrow|tonight|this (?:morning|afternoon|evening|week|month|year)"
    r"|(?:last|next|on) (?:night|week|month|year|\w+day)|in (?:an? |the )?(?:hour|morning|afternoon"
    rf"|evening|\w+uary|march|april|may|june|july|august|\w+ber)|at {_NUMBER})"
)
_DEATH: Final = r"\b(?:died|dead|death|passed away|funeral|killed|put (?:him|her|it) down)\b"

_ALREADY_TOLD: Final[tuple[tuple[str, str], ...]] = (
    (rf"\b{_NUMBER}\b", r"\bhow (?:old|many)\b"),
    (rf"\b{_TIME}\b", r"\b(?:when (?:did|was|is|are|will|do)|how long ago)\b"),
    (
        rf"\b(?:since|for (?:an? |{_NUMBER} |many |so |a few )?(?:hour|day|week|month|year|long))",
        r"\bhow long\b",
    ),
    (
        r"\b(?:don't|do not|didn't|did not|never|hate)\b",
        r"\b(?:you should|you need to|good idea)\b",
    ),
    (r"\b(?:but|not|no)\b", r"^(?:yes|yeah|sure|i agree)\b"),
    (r"\bfound\b", r"\b(?:hope|did) you (?:find|found)\b"),
    (r"\?\s*$", r"^(?:oh )?(?:that(?:'s| is)|how) (?:great|nice|awesome|cool|good|wonderful)\b"),
)
"""What was told last → what an answer may then not ask or say."""

_LASTING: Final[tuple[tuple[str, str], ...]] = (
    (
        _DEATH,
        r"\b(?:hope (?:he|she|it|they|your|you (?:find|get|have))|(?:he|she)(?:'ll|'s)"
        r"|find (?:him|her|it)|get (?:better|well)|(?:he|she) (?:will|is|has|does)"
        r"|(?:will|is|has|does) (?:he|she|the|your)|good (?:time|way)"
        r"|did you (?:miss|find|like)|do you have)\b",
    ),
)
"""What was told at any time → the same."""

_GLAD: Final = re.compile(
    r"\b(?:great|awesome|amazing|wonderful|fantastic|glad|congrat\w*|nice|cool|fun|happy for you"
    r"|good (?:time|for you|to hear)|that(?:'s| is) (?:so |very |really )?good|lucky|enjoy\w*"
    r"|excit\w+|lovely|so happy|good (?:attitude|deal))\b",
    re.IGNORECASE,
)
_SORRY: Final = re.compile(
    r"\b(?:sorry|terrible|awful|horrible|sad|sucks|loss|scary|disgusting|gross|bummer|too bad"
    r"|a shame)\b",
    re.IGNORECASE,
)
_ADVICE: Final = re.compile(
    r"\b(?:you(?:'ll| will)? (?:should|need to|have to|must|better|could)|try to|why don't you"
    r"|have you (?:tried|considered)|just (?:get|do|go|call|tell))\b",
    re.IGNORECASE,
)
_BAD_NEWS: Final = re.compile(
    r"\b(?:died|dead|death|passed away|funeral|lost (?:my|our|his|her|the)|stole\w*|robbed|fired"
    r"|laid off|cancer|hospital|accident|crash\w*|hurt\w*|broke\w*|cheated|struggl\w+|puked"
    r"|smell\w*|scared|afraid|worr\w+|sad|lonely|alone|cried|crying|angry|mad|upset|disappoint\w*|hate"
    r"|terrible|awful|horrible|worst|sick|fail\w*|nightmare|shouted|yelled|wrong|quiet now)\b",
    re.IGNORECASE,
)
_OWN_LIFE: Final = re.compile(
    r"\bI (?:have (?:an?|one|two|some|never|been|had)|(?:do|did|have|can|would)(?:n't| not)|had"
    r"|used to|once|went|bought|got|was|did|do too|love|like|live|grew|remember|never|always|just"
    r"|want|need|hate|wish I|will|would)\b"
    r"|\bI(?:'ve| have) (?:been|had|never|always|got)\b|\bI(?:'d| would| can't)\b"
    r"|\b(?:my|mine|me too|same here|we|us|our)\b"
)
_GUESS: Final = re.compile(
    r"\b(?:I hope (?!so\b)|I(?:'m| am) (?:pretty )?sure|I bet|I guess|I think (?:he|she|they|it)"
    r"|(?:he|she|they) (?:will|should|would|must|was|were|can)"
    r"|you (?:can|will|must be|would|are going))\b",
    re.IGNORECASE,
)
"""What guesses at people and outcomes: the model mixes up who and what a talk is about."""
_PATIENT: Final[frozenset[Act]] = frozenset({"comfort", "reassure", "calm", "validate"})
"""Acts that give no quick advice."""


_LISTENERS_WORDS: Final = frozenset(
    str.split(
        "a able about after again ago agree all almost alone alright always am amazing an and "
        "angry annoying another any anybody anyone anything are as at awesome awful back bad be "
        "because been before being believe best better between bit both brave but by calm came "
        "can care careful clear come comes congrats congratulations cool could curious day deal "
        "decide did different difficult disappointing disgusting do does doing done down either "
        "else end ended enjoy enough even ever every everybody everyone everything exactly "
        "excellent excited exciting fair fantastic far feel feeling feelings feels felt few "
        "find fine first for forward found from frustrating fun funny get gets getting give "
        "glad go goes going gone good got great gross guess had happen happened happening "
        "happens happy hard has have he hear heard heart help helped helps her here him his "
        "hope hopefully horrible how hurt hurts i if imagine impressive in interesting is it "
        "its just kind know last least let like listen little look looking loss lot love lovely "
        "luck luckily lucky made make makes man many matter may maybe me mean might mind miss "
        "more most much must my myself need never next nice no nobody not nothing now of off oh "
        "ok okay on one only or other out over own painful part perfect please point pretty "
        "probably problem proud quite rather reaction ready real really reason relief remember "
        "right rough rude sad said say scared scary see seem seems seen sense serious shame she "
        "shocking should so some somebody someone something soon sorry sort sound sounds still "
        "story strange stressful such support sure surprise surprised surprising sweet take "
        "taking talk tell than thank thanks that the their them then there these they thing "
        "things think this those though thought through to today together told too tough tried "
        "trouble true try trying turn turned understand understandable unfair unfortunate up "
        "upset very wait want wanted was way we weird welcome well went were what when where "
        "whether which while who whole why will wish with without wonder wonderful work worked "
        "works worried worry worse worst would wow wrong yeah yes yet you your yours yourself "
    )
)
"""What a listener may say of anything. Other words stand in an answer only if they, or some of
their kin, were said before: else it speaks of what nobody told."""


_EMPTY_WORDS: Final = frozenset(
    str.split(
        "a am and are be for hear i is it of oh pretty really so sounds that the this to too very "
    )
)
"""What does not make an answer another one."""


def faults(text: str, said: Sequence[str], affect: UserAffect | None = None) -> float:
    """Count what is wrong with an answer; 0 is best.

    Args:
        text: The answer.
        said: Every earlier turn of the talk, by either; the last is the user's.
        affect: How the user seems to feel: gladness to the sad is a fault, and so is an answer
            without a question where the policy asks one, quick advice where it gives none, and to
            say more about a person than one should.
    """
    words = _plain(text).split()
    trigrams = _grams(words, 3)
    found = float(len(set(trigrams)) < len(trigrams))
    found += re.search(r"\b(\w+) \1\b", text, re.IGNORECASE) is not None
    found += text.count('"') % 2 + (text[-1:] not in '.!?"')
    found += max((_overlap(words, _plain(earlier).split()) for earlier in said), default=0.0)
    newest = said[-1] if said else ""
    found += over_attributes(text, affect, newest)
    found += _goes_against(text, newest, said)
    found += _OWN_LIFE.search(text) is not None  # it has none
    found += 0.5 * (_GUESS.search(text) is not None)
    found += _strays(words, said) + 0.5 * _repeats_itself(words, said)
    return found + (len(words) < 3) + _tone_faults(text, newest, affect)


def is_late(said: Sequence[str]) -> bool:
    """Whether a talk has more turns than those that the model learnt to listen from mostly have."""
    return len(said) >= LATER_TURNS


def is_grave(found: float, said: Sequence[str]) -> bool:
    """Whether an answer with so many faults is not said at all."""
    return found >= (GRAVE_LATER_FROM if is_late(said) else GRAVE_FROM)


def _plain(text: str) -> str:
    """Reduce a text to its lower-case words, the short forms written out."""
    text = re.sub(r"n't\b", " not", bare(text))
    for short, whole in (("'s", " is"), ("'m", " am"), ("'re", " are"), ("'ll", " will")):
        text = text.replace(short, whole)
    return text


def _strays(words: Sequence[str], said: Sequence[str]) -> float:
    """Half a fault for each of two words of things that nobody spoke of, and for one said twice."""
    things = [word[:_STEM] for word in words if word not in _LISTENERS_WORDS]
    told = {word[:_STEM] for theirs in said[-1::-2] for word in _plain(theirs).split()}
    strays = len(set(things) - told)
    return 0.5 * min(2, strays) + 0.5 * (len(set(things)) < len(things))


def _repeats_itself(words: Sequence[str], said: Sequence[str]) -> bool:
    """Whether an answer says no more than an earlier one of its own did."""
    core = set(words) - _EMPTY_WORDS
    return any(core <= set(_plain(own).split()) for own in said[-2::-2])


def _goes_against(text: str, newest: str, said: Sequence[str]) -> bool:
    def met(rules: tuple[tuple[str, str], ...], told: str) -> bool:
        return any(
            re.search(rule, told, re.IGNORECASE) and re.search(wrong, text, re.IGNORECASE)
            for rule, wrong in rules
        )

    return met(_ALREADY_TOLD, newest) or met(_LASTING, " ".join(said))


def _tone_faults(text: str, newest: str, affect: UserAffect | None) -> float:
    glad, sorry = _GLAD.search(text) is not None, _SORRY.search(text) is not None
    found = float(glad and sorry)
    found += 0.5 * (glad and _BAD_NEWS.search(newest) is not None)
    if affect is None:
        return found
    act = policy_for(affect).act
    found += 0.5 * (act == "ask" and "?" not in text)
    found += 0.5 * (act in _PATIENT and _ADVICE.search(text) is not None)
    # A weak or contradictory signal about the face never overrules the words of the talk.
    if affect.strength != "slightly" and affect.accord != "conflict":
        found += (affect.sign > 0 and sorry) + (affect.sign < 0 and glad)
    return found


def _grams(words: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]


def _overlap(words: Sequence[str], earlier: Sequence[str]) -> float:
    """Share of the trigrams of an answer that were said before."""
    grams = set(_grams(words, 3))
    return len(grams & set(_grams(earlier, 3))) / len(grams) if grams else 0.0


# ------------------------------------------------------------------------------- safe answers

SAFE: Final[Mapping[Act, tuple[str, ...]]] = {
    "follow": (
        "I see. What happened next?",
        "Tell me a bit more about that.",
        "And how was that for you?",
        "What do you think about it yourself?",
    ),
    "ask": (
        "How was that for you?",
        "What is on your mind right now?",
        "Would you like to tell me more about it?",
        "What would you wish for?",
    ),
    "comfort": (
        "I am so sorry. I am here, and I am listening.",
        "That must be very hard. Take your time.",
        "I am sorry that you have to go through this.",
        "Would you like to tell me more about it?",
        "That hurts. What do you miss most?",
        "There is no hurry. What else is on your heart?",
    ),
    "reassure": (
        "I hear you. What has helped you before?",
        "That is a lot to carry. What worries you most?",
        "It makes sense that you think about it so much.",
        "I am here. What would help you a little right now?",
        "You don't have to face it all at once.",
        "Is there somebody who can be with you then?",
    ),
    "calm": (
        "That was not right. What happened then?",
        "I understand that this bothers you. What would you want to happen?",
        "I hear you. That would be hard for anybody.",
        "That is a lot to put up with. How do you go on from here?",
    ),
    "validate": (
        "It makes sense that you see it that way.",
        "I understand. That is not pleasant at all.",
        "I can understand that. What happened then?",
        "Anybody would mind that. What would help now?",
        "No wonder. How did you deal with it?",
    ),
    "celebrate": (
        "I am happy for you. Who will you share it with?",
        "That is lovely to hear. Tell me more!",
        "How wonderful! How did it come about?",
        "I am glad with you. What was the best part?",
        "What a good thing to happen! What comes next?",
    ),
    "explore": (
        "That is quite a story. How did it make you feel?",
        "Really? How did that come about?",
        "What a surprise! What did you think at first?",
        "I did not expect that. What happened next?",
        "And what do you make of it now?",
    ),
}
"""What fits any talk in which the policy asks for this act; complete, by test."""

_ANYWHERE: Final = (
    "I'm listening. Would you tell me more about that?",
    "Thank you for telling me.",
    "Take your time. I am here.",
    "What would help you most right now?",
    "Is there someone you can talk to about this as well?",
)

_BEYOND: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (
        r"\b(?:anyone|anybody|somebody|are you) (?:still )?(?:here|there|listening)\b.*\?",
        ("Yes, I am here. What is on your mind?", "I am listening. Go on."),
    ),
    (
        r"\bare you (?:an? )?(?:human|robot|bot|machine|real|person|ai|computer)\b"
        r"|\b(?:who|what|how old) are you\b|\bwhat(?:'s| is) your name\b|\bwhere do you live\b",
        (
            "I am a small computer program that listens. What would you like to talk about?",
            "I am only a program, but I am glad to listen. What is on your mind?",
        ),
    ),
    (
        r"\b(?:what(?:'s| is)|who (?:is|was)|when (?:is|was|did)|where (?:is|was)) the\b.*\?"
        r"|\bhow (?:much|many|far|big|tall) (?:is|are|does)\b.*\?"
        r"|\b(?:can|could) you (?:help me with|write|calculate|translate|explain|recommend)\b",
        (
            "I don't know that, I can only listen. What makes you think of it?",
            "That is more than I know, sorry. Why does it matter to you?",
        ),
    ),
    (
        r"^(?:well,? |ok(?:ay)?,? |anyway,? )?(?:thanks|thank you)\b",
        (
            "You are welcome. I am glad you told me.",
            "Thank you for telling me. I hope the rest of your day is kind to you.",
        ),
    ),
    (
        r"\b(?:good ?bye|bye(?: bye)?|good night|see you|i have to go now)\b",
        ("Goodbye, and take good care of yourself.", "Take care. I am here when you want to talk."),
    ),
)
"""What a person says that the model cannot answer → what is said instead."""


def beyond(said: Sequence[str]) -> str | None:
    """Answer what is beyond the model, such as a question about itself or the world.

    >>> beyond(["Are you a robot?"])
    'I am a small computer program that listens. What would you like to talk about?'

    Args:
        said: Every turn of the talk; the last is the user's.

    Returns:
        None where the model may answer.
    """
    for pattern, answers in _BEYOND:
        if re.search(pattern, said[-1], re.IGNORECASE):
            return _new(answers, said)
    return None


def safe_answer(said: Sequence[str], affect: UserAffect | None) -> str:
    """Say something short that is true of any such talk and was not said yet, if there is any."""
    act = "follow" if affect is None else policy_for(affect).act
    turn = zlib.crc32(bare(said[-1]).encode()) % len(SAFE[act])  # talks begin with different ones
    choices = (*SAFE[act][turn:], *SAFE[act][:turn], *_ANYWHERE, *SAFE["follow"], *SAFE["ask"])
    return _new(choices, said) or choices[0]


def _new(choices: Sequence[str], said: Sequence[str]) -> str | None:
    known = {bare(text) for text in said}
    return next((text for text in choices if bare(text) not in known), None)
