"""Turn-taking on scripted time, and its invariants under any sequence of signals."""

import dataclasses
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integration.errors import IntegrationError
from integration.turn_taking import (
    BACK_CHANNELS,
    FILLERS,
    UNFINISHED,
    Agent,
    Duck,
    Floor,
    HeardItself,
    Interrupt,
    Reset,
    TurnBegan,
    TurnConfig,
    TurnDropped,
    TurnEnded,
    Unduck,
    Voice,
    Words,
    needed_pause_s,
    step,
)

FRAME_S = 0.02
DETECTOR_PAUSE_S = 0.6
PADDING_S = 0.1
FREE = Agent(busy=False)
BUSY = Agent(busy=True)


class Talk:
    """Plays a talk on scripted time, as a voice activity detector that makes no mistakes."""

    def __init__(self, config=None):
        self.floor = Floor(config or TurnConfig())
        self.time_s = 0.0
        self.voice_end_s = float("-inf")
        self.since_s = None
        self.done = []  # (time, action)

    def tell(self, signal):
        self.floor, actions = step(self.floor, signal)
        self.done += [(round(self.time_s, 2), action) for action in actions]

    def frames(self, seconds, voiced):
        for _ in range(round(seconds / FRAME_S)):
            self.time_s += FRAME_S
            ended = None
            if voiced:
                start_s = self.time_s - FRAME_S - PADDING_S
                self.since_s = start_s if self.since_s is None else self.since_s
                self.voice_end_s = self.time_s
            elif self.since_s is not None and self.silent_s >= DETECTOR_PAUSE_S - 1e-9:
                ended, self.since_s = (self.since_s, self.voice_end_s + PADDING_S), None
            self.tell(Voice(self.time_s, voiced, self.since_s, self.silent_s, ended))

    @property
    def silent_s(self):
        return round(self.time_s - self.voice_end_s, 6)

    def speak(self, seconds, *texts, settled=False):
        for text in texts:
            self.frames(seconds / len(texts), True)
            self.tell(Words(text, settled))
        if not texts:
            self.frames(seconds, True)

    def pause(self, seconds):
        self.frames(seconds, False)

    def kinds(self):
        return [type(action) for _, action in self.done]

    def when(self, kind):
        return next(time_s for time_s, action in self.done if isinstance(action, kind))

    def turns(self):
        return [action for _, action in self.done if isinstance(action, TurnEnded)]


def test_a_turn_ends_a_pause_after_its_last_word():
    talk = Talk()
    talk.pause(0.5)
    talk.speak(2.0)
    talk.pause(2.0)
    assert talk.kinds() == [TurnBegan, TurnEnded]
    (turn,) = talk.turns()
    assert (turn.start_s, turn.end_s) == (pytest.approx(0.4), pytest.approx(2.6))
    assert turn.pause_s == pytest.approx(needed_pause_s(Floor()), abs=2 * FRAME_S)
    assert 0.6 <= turn.pause_s <= 0.9


def test_utterances_within_the_pause_are_one_turn():
    talk = Talk(TurnConfig(shortest_pause_s=1.0))
    for _ in range(3):
        talk.speak(1.0)
        talk.pause(0.8)
    talk.pause(1.0)
    (turn,) = talk.turns()
    assert len(turn.utterances) == 3


@pytest.mark.parametrize("text", ["i was at home and", "um", "it is my", "well, …", "I mean,"])
def test_a_thinking_pause_is_not_cut_off(text):
    talk = Talk()
    talk.speak(1.5, text)
    talk.pause(1.2)
    assert talk.turns() == []
    talk.speak(1.0, text + " so tired")
    talk.pause(1.5)
    (turn,) = talk.turns()
    assert len(turn.utterances) == 2


@pytest.mark.parametrize("text", ["", "my dog ran away", "I think so.", "Is it? And."])
def test_a_whole_sentence_is_answered_soon(text):
    talk = Talk()
    talk.speak(1.5, text)
    talk.pause(0.9)
    assert len(talk.turns()) == 1


def speaker(pause_s, turns=6):
    talk = Talk()
    for _ in range(turns):
        for _ in range(3):
            talk.speak(0.8)
            talk.pause(pause_s)
        talk.speak(0.8)
        talk.pause(3.0)
    return talk


def test_the_pause_follows_the_speaker_within_its_bounds():
    config = TurnConfig()
    assert needed_pause_s(speaker(0.2).floor) == pytest.approx(config.shortest_pause_s, abs=0.2)
    fast, slow = needed_pause_s(speaker(0.3).floor), needed_pause_s(speaker(0.56).floor)
    assert config.shortest_pause_s <= fast < slow <= config.longest_pause_s


def test_who_was_cut_off_is_given_longer():
    before_s = needed_pause_s(Floor())
    needed_s = {}
    for answered in (True, False):
        talk = Talk()
        for _ in range(9):
            talk.speak(1.0)
            talk.pause(0.9)
            talk.tell(FREE if answered else BUSY)
            talk.pause(0.1)
        needed_s[answered] = needed_pause_s(talk.floor)
    assert needed_s[True] == before_s  # who replies at once to an answer was not cut off
    assert needed_s[False] > before_s


def test_an_endless_turn_ends_at_the_next_pause_of_the_detector():
    talk = Talk(TurnConfig(longest_turn_s=5.0, shortest_pause_s=1.0))
    for _ in range(3):
        talk.speak(2.0)
        talk.pause(0.7)
    assert len(talk.turns()) == 1


def test_a_voice_ducks_the_agent_at_once_and_a_short_one_lets_it_go_on():
    talk = Talk()
    talk.tell(BUSY)
    talk.pause(1.0)
    talk.speak(0.3, "mhm")
    talk.pause(0.7)
    talk.tell(Words("mhm", settled=True))
    talk.pause(0.3)
    assert talk.kinds() == [TurnBegan, Duck, Unduck, TurnDropped]
    assert talk.when(Duck) == pytest.approx(1.02)
    assert talk.when(Unduck) == pytest.approx(1.3 + TurnConfig().unduck_s, abs=2 * FRAME_S)


def test_seven_tenths_of_a_second_of_speech_take_the_turn():
    talk = Talk()
    talk.tell(BUSY)
    talk.pause(1.0)
    talk.speak(1.5)
    assert talk.when(Interrupt) == pytest.approx(1.7, abs=2 * FRAME_S)
    talk.tell(FREE)
    talk.pause(1.5)
    assert talk.kinds() == [TurnBegan, Duck, Interrupt, TurnEnded]


def test_a_word_takes_the_turn_before_that_once_it_is_sure():
    talk = Talk()
    talk.tell(BUSY)
    talk.speak(0.4, "wait", "wait no")
    assert talk.when(Interrupt) == pytest.approx(0.4)
    unsure = Talk()
    unsure.tell(BUSY)
    unsure.speak(0.4, "him", "mhm")
    assert Interrupt not in unsure.kinds()


def test_what_a_rough_recogniser_says_so_far_does_not_interrupt():
    talk = Talk()
    talk.tell(BUSY)
    for _ in range(4):
        talk.speak(0.1)
        talk.tell(Words("the", sure=False))
    assert Interrupt not in talk.kinds()
    talk.pause(0.7)
    talk.tell(Words("stop", settled=True, sure=False))
    assert Interrupt in talk.kinds()


def test_a_short_word_is_waited_for_and_becomes_a_turn():
    talk = Talk()
    talk.tell(BUSY)
    talk.speak(0.3)
    talk.pause(1.0)
    talk.tell(Words("stop", settled=True))
    talk.pause(0.1)
    assert talk.kinds() == [TurnBegan, Duck, Unduck, Interrupt, TurnEnded]


def test_words_that_never_come_are_not_waited_for_for_ever():
    talk = Talk()
    talk.tell(BUSY)
    talk.speak(0.3)
    talk.pause(4.0)
    assert talk.kinds() == [TurnBegan, Duck, Unduck, TurnDropped]


def test_two_short_pieces_add_up_to_a_turn():
    talk = Talk()
    talk.tell(BUSY)
    talk.speak(0.4)
    talk.pause(0.65)
    talk.speak(0.4)
    assert Interrupt in talk.kinds()


def test_the_agents_own_words_out_of_the_loudspeaker_do_not_interrupt_it():
    saying = "I am sorry to hear that. What happened to your dog?"
    talk = Talk()
    talk.tell(Agent(busy=True, saying=saying))
    talk.speak(0.6, "i am", "i am sorry")
    talk.speak(1.4, "i am sorry too", "i am sorry to hear bat")
    assert Interrupt not in talk.kinds()
    talk.speak(1.0, "i am sorry to hear no wait", "i am sorry to hear no wait please")
    assert Interrupt in talk.kinds()


def test_an_agent_that_was_interrupted_by_itself_does_not_answer_itself():
    talk = Talk()
    talk.tell(Agent(busy=True, saying="I am sorry to hear that."))
    talk.speak(1.5)
    talk.tell(FREE)
    talk.tell(Words("i am sorry to hear bat", settled=True))
    talk.pause(3.0)
    assert talk.kinds() == [TurnBegan, Duck, Interrupt, TurnDropped, HeardItself]


SAYING = "I am sorry to hear that. What happened to your dog?"


def hearing_itself():
    """A talk in which the agent has once stopped for its own voice, and speaks again."""
    talk = Talk()
    talk.tell(Agent(busy=True, saying=SAYING))
    talk.speak(1.5)
    talk.tell(FREE)
    talk.tell(Words("i am sorry to hear bat", settled=True))
    talk.pause(3.0)
    talk.done.clear()
    talk.tell(Agent(busy=True, saying=SAYING))
    return talk


def test_an_agent_that_has_heard_itself_does_not_stop_again():
    talk = hearing_itself()
    for _ in range(2):
        talk.speak(1.2, "i", "i am")
        talk.pause(0.3)
        talk.speak(2.0, "i am story", "i am story to hear that")
        talk.pause(0.7)
        talk.tell(Words("i am story to hear that what", settled=True))
        talk.pause(1.0)
    assert talk.kinds() == [TurnBegan, TurnDropped] * 2


def test_an_agent_that_is_heard_no_more_is_ducked_again():
    talk = hearing_itself()
    talk.pause(2.0)
    talk.speak(0.3)
    assert Duck not in talk.kinds()
    talk.pause(3.1)  # headphones, say
    talk.speak(0.8)
    assert talk.kinds() == [TurnBegan, TurnDropped, TurnBegan, Duck, Interrupt]


def test_a_voice_that_comes_and_goes_with_the_agents_is_an_echo():
    talk = Talk()
    talk.pause(1.0)
    talk.tell(Agent(busy=True, saying=SAYING))
    for _ in range(2):
        talk.pause(0.3)
        talk.speak(0.4)  # ducked at once, it is heard a little longer
        talk.pause(0.4)
    assert talk.kinds() == [TurnBegan, Duck, Unduck, Duck, Unduck, HeardItself]
    person = Talk()
    person.pause(1.0)
    person.tell(Agent(busy=True, saying=SAYING))
    for _ in range(2):
        person.pause(1.5)  # in the middle of a sentence
        person.speak(0.4)
        person.pause(0.4)
    assert HeardItself not in person.kinds()


def test_who_speaks_over_an_agent_that_hears_itself_takes_the_turn():
    talk = hearing_itself()
    talk.speak(0.6, "no")
    talk.speak(0.6, "no please let me finish")
    talk.frames(FRAME_S, True)
    assert talk.kinds() == [TurnBegan, Interrupt]
    rough = hearing_itself()
    rough.speak(1.0)
    rough.pause(0.7)
    rough.tell(Words("stop", settled=True, sure=False))
    assert Interrupt in rough.kinds()


def test_before_it_speaks_an_agent_that_hears_itself_is_ducked_and_interrupted_as_ever():
    talk = hearing_itself()
    talk.tell(BUSY)
    talk.speak(1.0)
    assert talk.kinds() == [TurnBegan, Duck, Interrupt]


def test_who_speaks_on_after_an_agent_that_spoke_aloud_is_told_from_it_by_words():
    for words, turns in (("i am sorry to hear bat", 0), ("my cat is ill too", 1)):
        talk = Talk()
        talk.tell(Agent(busy=True, saying=SAYING))
        talk.speak(0.5)
        talk.tell(FREE)
        talk.speak(0.5)
        talk.pause(1.5)
        assert talk.turns() == []
        talk.tell(Words(words, settled=True))
        talk.pause(0.1)
        assert len(talk.turns()) == turns


def test_a_microphone_switched_on_again_may_be_another_one():
    talk = hearing_itself()
    talk.tell(Reset())
    talk.speak(1.0)
    assert talk.kinds() == [TurnBegan, Duck, Interrupt]


def test_an_echo_that_was_written_down_wrongly_is_still_one():
    talk = Talk()
    talk.tell(Agent(busy=True, saying=SAYING))
    talk.speak(0.5)
    talk.pause(0.7)
    talk.tell(Words("i am sorry bat", settled=True, sure=False))
    talk.pause(2.0)
    assert Interrupt not in talk.kinds()
    assert talk.kinds()[-1] is HeardItself


@pytest.mark.parametrize(
    ("saying", "heard"),  # as pocketsphinx writes down espeak-ng out of a loudspeaker
    [
        ("I am sorry to hear that. What happened?", "i'm sorry to hear that's what happened"),
        ("Oh no, that is terrible. Is he okay?", "oh no that is to little is he okay"),
        ("Tell me more about him, if you like.", "silly more about him if you like"),
        ("Wow. How old is she?", "well how old is she"),
    ],
)
def test_a_loudspeaker_is_told_from_a_person(saying, heard):
    for words, turns in ((heard, 0), ("i have talked to him about it", 1)):
        talk = Talk()
        talk.tell(Agent(busy=True, saying=f"{saying} Have you talked to your boss about it?"))
        talk.speak(1.5)
        talk.tell(FREE)
        talk.pause(0.7)
        talk.tell(Words(words, settled=True, sure=False))
        talk.pause(0.5)
        assert len(talk.turns()) == turns


def test_what_the_agent_goes_on_to_say_is_its_own_too():
    talk = Talk()
    talk.tell(Agent(busy=True, saying="I am sorry."))
    talk.speak(0.5)
    talk.tell(Agent(busy=True, saying=SAYING))
    talk.speak(1.0, "what happened to", "what happened to your dog")
    talk.tell(FREE)
    talk.tell(Words("what happened to your dog", settled=True))
    talk.pause(2.0)
    assert talk.turns() == []


def test_one_mhm_after_another_lets_the_agent_go_on():
    talk = Talk()
    talk.tell(BUSY)
    said = ""
    for word in ("mhm", "yeah", "I see", "okay", "right"):
        said = f"{said} {word}".strip()
        talk.speak(0.3)
        talk.pause(0.62)
        talk.tell(Words(said, settled=True))
    assert Interrupt not in talk.kinds()
    talk.speak(0.72)
    assert Interrupt in talk.kinds()


def test_yes_answers_a_silent_agent_and_not_a_speaking_one():
    for agent, turns in ((FREE, 1), (BUSY, 0)):
        talk = Talk()
        talk.tell(agent)
        talk.speak(0.4, "yes", settled=True)
        talk.pause(3.0)
        assert len(talk.turns()) == turns


def test_who_still_speaks_when_the_agent_ends_answers_it():
    talk = Talk()
    talk.tell(BUSY)
    talk.speak(0.2)
    talk.tell(FREE)
    talk.speak(0.2, "yes", settled=True)
    talk.pause(2.0)
    assert talk.kinds() == [TurnBegan, Duck, Unduck, TurnEnded]


def test_a_microphone_that_is_switched_off_leaves_nothing_open():
    talk = Talk()
    talk.tell(BUSY)
    talk.speak(0.3)
    talk.tell(Reset())
    assert talk.kinds() == [TurnBegan, Duck, TurnDropped, Unduck]
    assert talk.floor.turn is None


def test_nothing_said_shows_in_a_repr():
    talk = Talk()
    talk.tell(Agent(True, "a secret"))
    talk.speak(0.4, "a secret", "a secret")
    assert "secret" not in repr(talk.floor) + repr(Words("a secret")) + repr(talk.done)


def test_the_tables_are_lower_case_words():
    for word in BACK_CHANNELS | FILLERS | UNFINISHED:
        assert word == word.lower().strip()
    both = BACK_CHANNELS & UNFINISHED
    assert both == {"of"}, "'of course' is whole, 'because of' is not"


@pytest.mark.parametrize("bad", [{"interrupt_s": 0.0}, {"shortest_pause_s": 2.0}])
def test_times_that_make_no_sense_are_refused(bad):
    with pytest.raises(IntegrationError, match="Expected"):
        TurnConfig(**bad)


# -- any sequence of signals ----------------------------------------------------------------------

texts = st.sampled_from(["", "mhm", "yeah", "stop", "wait a minute", "i was and", "um", "sorry"])
agents = st.builds(Agent, st.booleans(), st.sampled_from(["", "I am sorry to hear that."]))
plans = st.lists(
    st.one_of(
        st.tuples(st.just("speak"), st.floats(0.02, 2.5)),
        st.tuples(st.just("pause"), st.floats(0.02, 2.5)),
        st.tuples(st.just("words"), texts, st.booleans()),
        st.tuples(st.just("agent"), agents),
        st.tuples(st.just("reset")),
    ),
    max_size=25,
)
# what no detector would say: the machine must stand it all the same
wild = st.lists(
    st.one_of(
        st.builds(
            Voice,
            st.floats(0, 50),
            st.booleans(),
            st.none() | st.floats(0, 50),
            st.floats(0, 10),
            st.none() | st.tuples(st.floats(0, 50), st.floats(0, 50)),
        ),
        st.builds(Words, texts, st.booleans()),
        agents,
        st.just(Reset()),
    ),
    max_size=60,
)


def play(plan):
    talk = Talk()
    for kind, *rest in plan:
        match kind:
            case "speak":
                talk.speak(*rest)
            case "pause":
                talk.pause(*rest)
            case "words":
                talk.tell(Words(*rest))
            case "agent":
                talk.tell(*rest)
            case "reset":
                talk.tell(Reset())
    return talk


def check(before, signal, after, actions):
    """What holds for every step."""
    open_turn, ducked = before.turn is not None, before.ducked
    for action in actions:
        match action:
            case TurnBegan():
                assert not open_turn, "two turns are open"
                open_turn = True
            case TurnEnded() | TurnDropped():
                assert open_turn, "a turn ends that never began"
                open_turn = False
            case Duck():
                assert before.agent.busy, "nobody speaks who could be quieter"
                assert not ducked
                ducked = True
            case Unduck():
                assert ducked
                ducked = False
            case Interrupt():
                assert before.agent.busy, "nobody is there to interrupt"
                ducked = False
    assert open_turn == (after.turn is not None), "a turn is lost"
    assert ducked == after.ducked, "a duck is lost"
    assert after.time_s >= before.time_s or isinstance(signal, Reset), "time goes back"
    assert after.agent.busy or not after.ducked, "a silent agent stays ducked"
    config = after.config
    pause_s = needed_pause_s(after)
    assert config.shortest_pause_s <= pause_s <= config.longest_pause_s + config.thinking_s


def watched(run):
    """Run with every step checked."""
    seen = []

    def stepped(floor, signal):
        after, actions = step(floor, signal)
        check(floor, signal, after, actions)
        seen.append((floor, signal, after, actions))
        return after, actions

    run(stepped)
    return seen


@settings(max_examples=60, deadline=None)
@given(wild)
def test_any_sequence_of_signals_keeps_the_invariants(signals):
    def run(stepped):
        floor = Floor()
        for signal in signals:
            floor, _ = stepped(floor, signal)

    watched(run)


@settings(max_examples=60, deadline=None)
@given(plans)
def test_any_talk_loses_no_turn_and_leaves_nothing_ducked(plan):
    talk = play(plan)
    talk.tell(FREE)
    talk.pause(6.0)
    began, over = talk.kinds().count(TurnBegan), len(talk.turns())
    assert began == over + talk.kinds().count(TurnDropped)
    assert talk.floor.turn is None
    assert not talk.floor.ducked
    ends = [turn.end_s for turn in talk.turns()]
    assert ends == sorted(ends)
    spans = [span for turn in talk.turns() for span in turn.utterances]
    assert all(a[1] <= b[0] + 2 * PADDING_S for a, b in pairwise(spans)), "turns overlap"


@settings(max_examples=40, deadline=None)
@given(plans)
def test_whatever_is_said_while_the_agent_is_silent_becomes_a_turn(plan):
    talk = play([one for one in plan if one[0] not in ("agent", "reset")])
    talk.pause(6.0)
    assert TurnDropped not in talk.kinds()
    spoke = any(kind == "speak" for kind, *_ in plan)
    assert bool(talk.turns()) == spoke


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(BACK_CHANNELS)), st.floats(0.1, 0.6), st.floats(0.62, 3)),
        max_size=8,
    ),
)
def test_back_channels_alone_never_take_the_turn(said):
    talk = Talk()
    talk.tell(BUSY)
    for word, speech_s, pause_s in said:
        talk.speak(speech_s, word)
        talk.pause(0.62)
        talk.tell(Words(word, settled=True))
        talk.pause(pause_s - 0.62)
    talk.pause(3.0)
    assert not {Interrupt, TurnEnded} & set(talk.kinds())


@settings(max_examples=40, deadline=None)
@given(
    st.floats(0.72, 4.0), st.floats(0.0, 3.0), st.sampled_from([BUSY, Agent(True, saying=SAYING)])
)
def test_long_speech_always_interrupts_in_time(speech_s, before_s, agent):
    talk = Talk()
    talk.tell(agent)
    talk.pause(before_s)
    began_s = talk.time_s
    talk.speak(speech_s)
    assert talk.when(Interrupt) - began_s <= TurnConfig().interrupt_s + 2 * FRAME_S


def test_the_state_is_a_value():
    assert dataclasses.fields(Floor)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Floor().ducked = True
