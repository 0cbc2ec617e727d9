"""Whose turn it is: a pure state machine over what the voice activity detector and the words say.

It has no clock, no thread and no sound: `step` takes a state and an event and returns the next
state and what is to be done. Media time alone decides, so a talk can be played back exactly.

A turn begins with an utterance and ends with a pause. The pause is bounded and follows the
speaker: it is a little longer than nine of ten of the pauses this person makes within a turn. Where
the words break off in the middle ("and …", "um") it is a second longer.

While the agent answers, an utterance is contested. It wins the turn, and the agent stops, after
`interrupt_s` of speech or with a word that is no back-channel (Yngve 1970: 'mhm', 'yeah'); a
back-channel alone is no turn, and the agent goes on; however often it comes.

Nor is the agent's own voice a turn, should the browser's echo cancellation let it through. An echo
ends where the agent's voice is ducked, and a person speaks on: only that takes the turn. A voice
that comes and goes with the agent's own twice running, or says its words, is an echo. From then on
a voice alone does nothing while the agent speaks aloud, and words must show that it is another's;
until the agent is heard no more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from typing import Final, Literal

from integration.errors import IntegrationError

__all__ = [
    "BACK_CHANNELS",
    "FILLERS",
    "UNFINISHED",
    "Action",
    "Agent",
    "Duck",
    "Floor",
    "HeardItself",
    "Interrupt",
    "Reset",
    "Signal",
    "TurnBegan",
    "TurnConfig",
    "TurnDropped",
    "TurnEnded",
    "Unduck",
    "Voice",
    "Words",
    "may_be_the_agents",
    "needed_pause_s",
    "step",
]


def _those(words: str) -> frozenset[str]:
    return frozenset(words.split())


BACK_CHANNELS: Final = _those(
    "absolutely ah aha alright course exactly fine go good great hm hmm huh indeed mhm mm mmm "
    "mm-hmm of oh ok okay on really right see sure totally true uh uh-huh um wow yea yeah yep yes "
    "yup"
)
"""Words that say 'go on', not 'my turn'; those of 'of course', 'go on' and 'I see' among them."""

FILLERS: Final = _those("ah er erm hm hmm mm uh um")
"""Words that hold the turn."""

UNFINISHED: Final = _those(
    "a an and because but cause from he he's her his i i'm i've if into it's my of or our she than "
    "that's the their there's they they're unless we we're when where which while with your"
)
"""Words that a sentence seldom ends with."""

_WORD: Final = re.compile(r"[\w'-]+")
_PAUSES_KEPT: Final = 16
_PRIOR_PAUSES_S: Final = (0.5, 0.55, 0.6)
_SHORTEST_PAUSE_S: Final = 0.16
"""Less silence than this lies within words: stops such as 'p' and 't' are silent that long."""

_PADDING_S: Final = 0.1
"""An utterance begins so long before its first voice, and ends so long after the last."""

_ECHO_WORDS: Final = 3
_ECHO_SHARE: Final = 0.5
"""So many words on end, and this share in all, are the agent's own where it hears itself. Of an
echo pocketsphinx gets every third word wrong; whoever answers repeats words too, but few on end.
"""

_ECHO_ONSET_S: Final = 0.8
"""So soon after the agent's voice its echo is heard: some synthesisers begin half a second late."""

_ECHO_TAIL_S: Final = 0.55
"""So long after it is ducked an echo may be heard: the way to the page, the loudspeaker's buffer,
the detector's own hold. Whoever interrupts speaks longer anyway."""

_ECHOES: Final = 2
_NO_ECHO_S: Final = 3.0
"""An agent that is not heard for so long while it speaks aloud makes no echo."""

Claim = Literal["free", "contested", "won"]
"""How a turn stands to the agent: begun while it was silent, while it answered, or it gave way."""


@dataclass(frozen=True)
class TurnConfig:
    """When a turn ends and when it interrupts; times in seconds.

    Attributes:
        shortest_pause_s: A pause under this never ends a turn.
        longest_pause_s: The longest pause that a slow speaker is given.
        pause_factor: How much longer than the speaker's own pauses it is.
        thinking_s: What is added where the words break off in the middle.
        interrupt_s: This much speech while the agent answers takes the turn.
        unduck_s: After this much silence the agent's voice comes up again.
        cut_off_s: Who goes on so soon after the end of a turn, before it was answered, was cut off.
        words_wait_s: How long an utterance that the words decide about waits for them.
        longest_turn_s: From here on the next pause of the detector ends the turn.

    Raises:
        IntegrationError: If a time is not positive or the bounds are crossed.
    """

    shortest_pause_s: float = 0.6
    longest_pause_s: float = 1.5
    pause_factor: float = 1.3
    thinking_s: float = 1.0
    interrupt_s: float = 0.7
    unduck_s: float = 0.4
    cut_off_s: float = 1.0
    words_wait_s: float = 1.5
    longest_turn_s: float = 60.0

    def __post_init__(self) -> None:
        if min(vars(self).values()) <= 0:
            raise IntegrationError(f"Expected positive times, got {self}.")
        if self.shortest_pause_s > self.longest_pause_s:
            raise IntegrationError(
                f"Expected a shortest pause of at most {self.longest_pause_s:g} s, "
                f"got {self.shortest_pause_s:g} s."
            )


# -- what happens ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Voice:
    """What the voice activity detector says of the sound up to a time.

    Attributes:
        time_s: Media time up to which sound was judged.
        stirring: Whether a voice is heard just now.
        since_s: Where the utterance under way began, or None without one.
        silent_s: Silence since the last voiced frame.
        ended: Start and end of an utterance that has just ended, or None.
    """

    time_s: float
    stirring: bool
    since_s: float | None
    silent_s: float
    ended: tuple[float, float] | None = None


@dataclass(frozen=True)
class Words:
    """The words of the turn so far.

    Attributes:
        text: All of them.
        settled: Whether all sound of the turn's ended utterances is in them.
        sure: Whether words that are not settled are mostly right.
    """

    text: str = field(repr=False)
    settled: bool = False
    sure: bool = True


@dataclass(frozen=True)
class Agent:
    """Whether the agent has the floor.

    Attributes:
        busy: Whether it is about to answer, answers, or speaks.
        saying: What it says aloud now, or nothing: words that may come back as an echo.
    """

    busy: bool
    saying: str = field(default="", repr=False)


@dataclass(frozen=True)
class Reset:
    """The microphone was switched off, or everything forgotten: what is half said is dropped."""


Signal = Voice | Words | Agent | Reset


# -- what is to be done ---------------------------------------------------------------------------


@dataclass(frozen=True)
class TurnBegan:
    """The person begins to speak."""

    start_s: float


@dataclass(frozen=True)
class TurnEnded:
    """The person has said what they wanted to say.

    Attributes:
        start_s: Where the first utterance starts.
        end_s: Where the last one ends.
        utterances: Start and end of each.
        pause_s: Silence that was waited for.
    """

    start_s: float
    end_s: float
    utterances: tuple[tuple[float, float], ...]
    pause_s: float


@dataclass(frozen=True)
class TurnDropped:
    """What was begun is no turn: noise, or a back-channel."""


@dataclass(frozen=True)
class Duck:
    """The agent's voice goes down."""


@dataclass(frozen=True)
class Unduck:
    """The agent's voice comes up again."""


@dataclass(frozen=True)
class Interrupt:
    """The agent stops speaking and writing; a ducked voice needs no coming up any more."""


@dataclass(frozen=True)
class HeardItself:
    """For the first time what was heard was the agent's own voice."""


Action = TurnBegan | TurnEnded | TurnDropped | Duck | Unduck | Interrupt | HeardItself


# -- the state ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Turn:
    start_s: float
    claim: Claim
    utterances: tuple[tuple[float, float], ...] = ()
    text: str = field(default="", repr=False)
    telling: frozenset[str] = field(default=frozenset(), repr=False)
    settled: bool = False
    longest_pause_s: float = 0.0
    back_channels: int = 0  # first utterances that are known to be no more than that
    echo: str = field(default="", repr=False)


@dataclass(frozen=True)
class Floor:
    """Who speaks, and what is known of how this person speaks.

    Attributes:
        config: Times.
        time_s: Newest media time.
        turn: The turn under way, or None.
        ducked: Whether the agent's voice is down.
        agent: What the agent does.
        silent_s: Silence at `time_s`.
        pauses_s: This person's newest pauses within turns.
        last_voice_s: Where the voice of the last turn ended, or None.
        echoing: Whether the agent is heard out of its own loudspeaker.
        aloud_s: Since when the agent's voice is up.
        ducked_s: Since when it was down, the last time.
        prompt: Whether a voice came right after it that time.
        echoes: How often running a voice came and went with the agent's.
    """

    config: TurnConfig = TurnConfig()
    time_s: float = float("-inf")
    turn: _Turn | None = None
    ducked: bool = False
    agent: Agent = Agent(busy=False)
    silent_s: float = float("inf")
    pauses_s: tuple[float, ...] = ()
    last_voice_s: float | None = None
    echoing: bool = False
    aloud_s: float = float("-inf")
    ducked_s: float = float("-inf")
    prompt: bool = False
    echoes: int = 0


def step(floor: Floor, signal: Signal) -> tuple[Floor, tuple[Action, ...]]:
    """Return the next state and what is to be done, in order."""
    match signal:
        case Voice():
            return _voice(floor, signal)
        case Words():
            return _words(floor, signal)
        case Agent():
            return _agent(floor, signal)
        case Reset():
            dropped = (TurnDropped(),) if floor.turn else ()
            silent = replace(floor, turn=None, last_voice_s=None, echoing=False, echoes=0)
            raised, actions = _raise_voice(silent)
            return raised, (*dropped, *actions)


def needed_pause_s(floor: Floor) -> float:
    """Say how long a silence ends the turn under way, in seconds.

    `pause_factor` times the 0.9 quantile of the speaker's own pauses within turns, at least a
    fifth more than the longest one of this turn, within the bounds; longer where the words say
    that there is more to come.
    """
    config, turn = floor.config, floor.turn
    own = sorted((*_PRIOR_PAUSES_S, *floor.pauses_s))
    usual_s = config.pause_factor * own[int(0.9 * (len(own) - 1))]
    if turn is not None:
        usual_s = max(usual_s, 1.2 * turn.longest_pause_s)
    bounded_s = min(max(usual_s, config.shortest_pause_s), config.longest_pause_s)
    thinking = turn is not None and _breaks_off(turn.text)
    return bounded_s + (config.thinking_s if thinking else 0.0)


def _breaks_off(text: str) -> bool:
    said = text.rstrip()
    if said.endswith((",", "-", "–", "…", "...")):
        return True
    words = _WORD.findall(said.lower())
    ends_whole = said.endswith((".", "?", "!"))
    return bool(words) and not ends_whole and words[-1] in FILLERS | UNFINISHED


# -- the rules ------------------------------------------------------------------------------------


def _voice(floor: Floor, voice: Voice) -> tuple[Floor, tuple[Action, ...]]:
    if voice.time_s < floor.time_s or (voice.time_s == floor.time_s and voice.ended is None):
        return floor, ()  # time does not go back
    actions: list[Action] = []
    for rule in (_begin, _note_pause, _note_utterance, _duck, _win_by_speech, _end):
        floor, done = rule(floor, voice)
        actions += done
    return replace(floor, time_s=voice.time_s, silent_s=voice.silent_s), tuple(actions)


def _begin(floor: Floor, voice: Voice) -> tuple[Floor, tuple[Action, ...]]:
    if floor.turn is not None or voice.since_s is None:
        return floor, ()
    claim: Claim = "contested" if floor.agent.busy else "free"
    turn = _Turn(voice.since_s, claim, echo=floor.agent.saying)
    pauses_s = floor.pauses_s
    if floor.last_voice_s is not None and floor.agent.busy:
        gap_s = voice.since_s - floor.last_voice_s
        if floor.config.shortest_pause_s <= gap_s <= needed_pause_s(floor) + floor.config.cut_off_s:
            pauses_s = _kept(pauses_s, gap_s)  # it was no end
    begun = replace(floor, turn=turn, pauses_s=pauses_s, last_voice_s=None)
    return begun, (TurnBegan(turn.start_s),)


def _note_pause(floor: Floor, voice: Voice) -> tuple[Floor, tuple[Action, ...]]:
    turn, pause_s = floor.turn, floor.silent_s
    resumed = voice.silent_s < pause_s and floor.time_s - pause_s >= (turn.start_s if turn else 0)
    if turn is None or not resumed or pause_s < _SHORTEST_PAUSE_S:
        return floor, ()
    longer = replace(turn, longest_pause_s=max(turn.longest_pause_s, pause_s))
    return replace(floor, turn=longer, pauses_s=_kept(floor.pauses_s, pause_s)), ()


def _kept(pauses_s: tuple[float, ...], pause_s: float) -> tuple[float, ...]:
    return (*pauses_s, pause_s)[-_PAUSES_KEPT:]


def _note_utterance(floor: Floor, voice: Voice) -> tuple[Floor, tuple[Action, ...]]:
    if floor.turn is None or voice.ended is None:
        return floor, ()
    turn = replace(floor.turn, utterances=(*floor.turn.utterances, voice.ended), settled=False)
    return replace(floor, turn=turn), ()


def _duck(floor: Floor, voice: Voice) -> tuple[Floor, tuple[Action, ...]]:
    won = floor.turn is not None and floor.turn.claim == "won"
    heard = voice.stirring and not (floor.echoing and floor.agent.saying)
    if floor.agent.busy and heard and not floor.ducked and not won:
        prompt = bool(floor.agent.saying) and voice.time_s - floor.aloud_s <= _ECHO_ONSET_S
        return replace(floor, ducked=True, ducked_s=voice.time_s, prompt=prompt), (Duck(),)
    if floor.ducked and not floor.agent.busy:
        return _raise_voice(floor)
    if floor.ducked and voice.silent_s >= floor.config.unduck_s:
        echoes = floor.echoes + 1 if floor.prompt and not _outlasts(floor, voice) else 0
        raised, actions = _raise_voice(replace(floor, aloud_s=voice.time_s, echoes=echoes))
        known, new = _know_echo(raised) if echoes >= _ECHOES else (raised, ())
        return known, (*actions, *new)
    unheard_s = min(voice.silent_s, voice.time_s - floor.aloud_s)
    if floor.echoing and floor.agent.saying and unheard_s >= _NO_ECHO_S:
        return replace(floor, echoing=False), ()
    return floor, ()


def may_be_the_agents(floor: Floor, text: str) -> bool:
    """Whether words may be the agent's own, out of a loudspeaker, and not the person's."""
    turn = floor.turn
    if turn is None or not turn.echo:
        return False
    return turn.claim == "contested" or _echoes(floor, text, turn.echo)


def _outlasts(floor: Floor, voice: Voice) -> bool:
    """Whether a voice was heard longer than the echo of an agent that was ducked for it."""
    return voice.time_s - voice.silent_s - floor.ducked_s > _ECHO_TAIL_S


def _know_echo(floor: Floor) -> tuple[Floor, tuple[Action, ...]]:
    return replace(floor, echoing=True, echoes=0), () if floor.echoing else (HeardItself(),)


def _raise_voice(floor: Floor) -> tuple[Floor, tuple[Action, ...]]:
    return replace(floor, ducked=False), (Unduck(),) if floor.ducked else ()


def _win_by_speech(floor: Floor, voice: Voice) -> tuple[Floor, tuple[Action, ...]]:
    turn = floor.turn
    if turn is None or turn.claim != "contested":
        return floor, ()
    told = turn.utterances[turn.back_channels :]
    spoken_s = sum(end_s - start_s - 2 * _PADDING_S for start_s, end_s in told)
    if voice.since_s is not None:
        spoken_s += voice.time_s - voice.silent_s - voice.since_s - _PADDING_S
    if spoken_s < floor.config.interrupt_s or _may_be_itself(floor, voice, turn.text):
        return floor, ()
    return _win(floor, turn)


def _may_be_itself(floor: Floor, voice: Voice, text: str) -> bool:
    saying = floor.agent.saying
    if not saying:
        return False
    if floor.echoing:
        unknown = len(_WORD.findall(text)) < _ECHO_WORDS
    else:
        unknown = not (floor.ducked and _outlasts(floor, voice))
    return unknown or _echoes(floor, text, saying)


def _win(floor: Floor, turn: _Turn) -> tuple[Floor, tuple[Action, ...]]:
    won = replace(floor, turn=replace(turn, claim="won"))
    if not floor.agent.busy:
        return _raise_voice(won)
    return replace(won, ducked=False), (Interrupt(),)


def _words(floor: Floor, words: Words) -> tuple[Floor, tuple[Action, ...]]:
    if floor.turn is None:
        return floor, ()
    telling = _telling(words.text, floor.agent.saying)
    # a recogniser often takes a first guess back: a word counts once it was said twice
    sure = telling if words.settled else telling & floor.turn.telling if words.sure else ()
    # of its own words too some are written down as others
    itself = (words.settled or floor.echoing) and _echoes(floor, words.text, floor.agent.saying)
    turn = replace(floor.turn, text=words.text, telling=telling, settled=words.settled)
    if words.settled:
        known = len(turn.utterances) if words.text and not telling else 0
        turn = replace(turn, back_channels=known)
    heard = replace(floor, turn=turn)
    wins = sure and not itself and turn.claim == "contested"
    return _win(heard, turn) if wins else (heard, ())


def _telling(text: str, echo: str) -> frozenset[str]:
    """Words that take the turn: neither back-channels nor what the agent says itself."""
    words = frozenset(_WORD.findall(text.lower())) - BACK_CHANNELS - {"i"}
    return words - set(_WORD.findall(echo.lower()))


def _echoes(floor: Floor, text: str, saying: str) -> bool:
    """Whether what is heard is most likely the agent's own voice out of the loudspeaker.

    Once that was heard, two words are enough.
    """
    words, own = _WORD.findall(text.lower()), _WORD.findall(saying.lower())
    runs = [match.size for match in SequenceMatcher(None, words, own, False).get_matching_blocks()]
    fewest, on_end = (2, 1) if floor.echoing else (_ECHO_WORDS, _ECHO_WORDS)
    enough = len(words) >= fewest and max(runs) >= on_end
    return enough and sum(runs) >= _ECHO_SHARE * len(words)


def _agent(floor: Floor, agent: Agent) -> tuple[Floor, tuple[Action, ...]]:
    turn = floor.turn
    if turn is not None and turn.echo and agent.saying:
        turn = replace(turn, echo=agent.saying)  # as far as it has come
    begins = bool(agent.saying) and not floor.agent.saying
    aloud_s = floor.time_s if begins else floor.aloud_s
    changed = replace(floor, agent=agent, turn=turn, aloud_s=aloud_s)
    if agent.busy:
        return changed, ()
    if turn is not None and turn.claim == "contested" and floor.silent_s < _SHORTEST_PAUSE_S:
        # whoever still speaks when the agent has ended answers it
        changed = replace(changed, turn=replace(turn, claim="free"))
    return _raise_voice(changed)


def _end(floor: Floor, voice: Voice) -> tuple[Floor, tuple[Action, ...]]:
    turn = floor.turn
    if turn is None or voice.since_s is not None:
        return floor, ()
    pause_s = needed_pause_s(floor)
    long = voice.time_s - turn.start_s >= floor.config.longest_turn_s
    if voice.silent_s < pause_s and not (long and turn.utterances):
        return floor, ()
    if turn.utterances and (turn.claim == "contested" or turn.echo):
        waited = voice.silent_s >= pause_s + floor.config.words_wait_s
        if not (turn.settled or waited):
            return floor, ()
    closed = replace(floor, turn=None)
    itself = _echoes(floor, turn.text, turn.echo) or (floor.echoing and not turn.text)
    heard_itself = bool(turn.echo) and itself
    if not turn.utterances or turn.claim == "contested" or heard_itself:
        raised, actions = _raise_voice(closed)
        known, new = _know_echo(raised) if heard_itself else (raised, ())
        return known, (TurnDropped(), *actions, *new)
    end_s = turn.utterances[-1][1]
    ended = TurnEnded(turn.start_s, end_s, turn.utterances, min(voice.silent_s, 60.0))
    return replace(closed, last_voice_s=voice.time_s - voice.silent_s), (ended,)
