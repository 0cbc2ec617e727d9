import threading
import weakref
from concurrent.futures import Future

import numpy as np
import pytest

from dialogue.errors import ModelError
from integration.errors import IntegrationError, TranscriptionError
from integration.pipeline import Pipeline, messages_of
from integration.queues import Bounds

RGB = np.zeros((48, 64, 3), np.uint8)
SECOND = np.zeros(16000, np.float32)
PATIENCE_S = 20.0


@pytest.fixture
def begin(clock):
    """Start pipelines with everybody's consent; end them after the test."""
    started = []

    def start(parts, *, camera=True, microphone=True, bounds=None):
        pipeline = Pipeline(parts, clock=clock, bounds=bounds)
        started.append(pipeline)
        pipeline.consent(camera=camera, microphone=microphone)
        return pipeline

    yield start
    for pipeline in started:
        pipeline.close()
        assert pipeline.join()


@pytest.fixture
def spoken(buzz, hush):
    """Two seconds of voice between silences: one turn, from about 0.4 s to 2.6 s."""
    return np.concatenate([hush(0.5), buzz(2.0), hush(1.5)])


def is_over(number=0):
    over = ("answered", "stopped", "unheard", "failed")
    return lambda session: len(session.turns) > number and session.turns[number].status in over


def test_an_utterance_becomes_words_an_affect_and_an_answer(models, begin, make_estimate, spoken):
    pipeline = begin(models.parts())
    models.live.finished.append(make_estimate("sad", "sad", start_s=0.5, end_s=2.0))
    pipeline.push_audio(0.0, spoken, 16000)
    turn = pipeline.wait(is_over()).turns[0]
    assert (turn.source, turn.text, turn.reply) == ("voice", "hello there", "I see.")
    assert turn.status == "answered"
    assert turn.estimate.label == "sad"
    assert turn.words.label == "neutral"
    assert len(models.transcriber.heard[0]) == pytest.approx(2.2 * 16000, abs=3000)
    ((messages, affect),) = models.responder.asked
    assert [(m.role, m.content) for m in messages] == [("user", "hello there")]
    assert affect.label == "sad"
    assert affect.channels == ("face", "voice", "words")


def test_what_is_pushed_reaches_the_recogniser_as_it_is(models, begin, make_moment):
    models.live.moment = make_moment(speaking=True)
    pipeline = begin(models.parts())
    pipeline.push_audio(3.0, SECOND, 16000)
    pipeline.push_frame(4.0, RGB)
    seen = pipeline.wait(lambda s: s.moment is not None and bool(models.live.frames))
    assert seen.moment.speaking
    assert models.live.frames[0][0] == 4.0
    assert models.live.sounds[0][0] == 3.0
    assert models.live.sounds[0][2] == 16000
    assert pipeline.media_end_s == 4.0


def test_a_typed_turn_goes_with_the_face_of_the_last_seconds(models, begin, make_estimate):
    models.live.face = make_estimate("fear")
    pipeline = begin(models.parts())
    pipeline.push_frame(60.0, RGB)
    pipeline.say("  I am fine.  ")
    turn = pipeline.wait(is_over()).turns[0]
    assert (turn.source, turn.text) == ("typed", "I am fine.")
    assert models.live.asked_since == [55.0]
    assert models.responder.asked[0][1].label == "afraid"
    assert models.transcriber.heard == []


def test_with_the_camera_off_a_typed_turn_goes_by_its_words(models, begin, make_estimate):
    models.live.face = make_estimate("fear")
    pipeline = begin(models.parts(), camera=False, microphone=False)
    pipeline.say("I am fine.")
    pipeline.wait(is_over())
    assert models.live.asked_since == []
    assert models.responder.asked[0][1].channels == ("words",)


def test_empty_text_is_refused_in_words(models, begin):
    with pytest.raises(IntegrationError, match="empty"):
        begin(models.parts()).say(" \n")


def test_without_consent_or_with_the_channel_off_nothing_is_taken(models, clock):
    pipeline = Pipeline(models.parts(), clock=clock)
    pipeline.push_frame(0.0, RGB)
    pipeline.push_audio(0.0, SECOND, 16000)
    pipeline.say("hello")
    pipeline.consent(camera=False, microphone=False)
    pipeline.push_frame(0.0, RGB)
    pipeline.push_audio(0.0, SECOND, 16000)
    pipeline.say("now")
    pipeline.wait(is_over())
    assert (models.live.frames, models.live.sounds) == ([], [])
    assert [turn.text for turn in pipeline.session.turns] == ["now"]
    pipeline.close()


def test_a_switch_turned_off_meanwhile_silences_what_was_seen(models, begin, make_estimate, spoken):
    pipeline = begin(models.parts())
    models.live.finished.append(make_estimate("sad", "happy"))
    pipeline.switch("camera", False)
    pipeline.push_audio(0.0, spoken, 16000)
    turn = pipeline.wait(is_over()).turns[0]
    assert turn.estimate.face is None
    assert models.responder.asked[0][1].label == "happy"


def test_frames_are_dropped_first_and_counted_while_the_recogniser_is_busy(models, begin):
    models.live.gate = threading.Event()
    pipeline = begin(models.parts(), bounds=Bounds(frames=4, audio_s=10.0))
    pipeline.push_frame(0.0, RGB)
    assert models.live.entered.wait(PATIENCE_S)
    for number in range(1, 11):
        pipeline.push_frame(number, RGB)
        pipeline.push_audio(number, SECOND, 16000)
    models.live.gate.set()
    session = pipeline.wait(lambda s: s.dropped_frames > 0 and len(models.live.sounds) == 10)
    assert session.dropped_frames == 6
    assert session.dropped_audio_s == 0.0
    assert [time_s for time_s, _, _ in models.live.sounds] == list(range(1, 11))
    pipeline.say("still here")
    pipeline.wait(is_over())
    assert [time_s for time_s, _ in models.live.frames] == [0, 7, 8, 9, 10]


def held(transcriber):
    """Let a transcriber write nothing down until the second of these events is set."""
    asked, gate, write = threading.Event(), threading.Event(), transcriber.transcribe

    def transcribe(samples):
        asked.set()
        assert gate.wait(PATIENCE_S)
        return write(samples)

    transcriber.transcribe = transcribe
    return asked, gate


def push_in_pieces(pipeline, sound, start_s=0.0):
    for at in range(0, len(sound), 640):
        pipeline.push_audio(start_s + at / 16000, sound[at : at + 640], 16000)


def test_speech_that_finds_no_room_is_counted_and_its_turn_breaks_off(
    models, begin, clock, spoken, buzz, hush
):
    models.transcriber.texts = ["my dog", "ran away"]
    asked, gate = held(models.transcriber)
    pipeline = begin(models.parts(), bounds=Bounds(speech_s=3.0))
    push_in_pieces(pipeline, spoken)
    assert asked.wait(PATIENCE_S)
    push_in_pieces(pipeline, np.concatenate([buzz(5.0), hush(1.5)]), start_s=4.0)
    session = pipeline.wait(lambda s: len(s.turns) == 2)
    assert session.dropped_speech_s == pytest.approx(2.8)
    assert session.dropped_audio_s == 0.0  # how it sounded is read all the same
    clock.time_s += 7.0
    gate.set()
    session = pipeline.wait(is_over(1))
    assert [turn.text for turn in session.turns] == ["my dog", "ran away …"]
    assert session.turns[0].heard_after_s == 7.0


def test_forgetting_does_not_wait_for_a_slow_transcriber(models, begin, spoken):
    models.transcriber.texts = ["a secret"]
    asked, gate = held(models.transcriber)
    pipeline = begin(models.parts())
    pipeline.push_audio(0.0, spoken, 16000)
    assert asked.wait(PATIENCE_S)
    pipeline.push_audio(4.0, spoken, 16000)
    pipeline.wait(lambda s: len(s.turns) == 2)
    pipeline.forget()
    pipeline.say("hello")
    assert pipeline.wait(is_over()).turns[0].text == "hello"  # though the first is still at work
    gate.set()
    pipeline.close()
    assert pipeline.join()
    assert len(models.transcriber.heard) == 1  # the second is not written down


def test_the_answer_streams_and_the_wait_for_it_is_measured(models, begin, clock):
    models.responder.gate = threading.Event()
    pipeline = begin(models.parts())
    pipeline.say("hello")
    turn = pipeline.wait(lambda s: bool(s.turns) and s.turns[0].reply == "I ").turns[0]
    assert (turn.status, turn.waited_s) == ("answering", 0.0)
    clock.time_s += 5.0
    models.responder.gate.set()
    assert pipeline.wait(is_over()).turns[0].waited_s == 0.0


def test_stop_ends_the_answer_where_it_is(models, begin):
    models.responder.gate = threading.Event()
    pipeline = begin(models.parts())
    pipeline.say("hello")
    pipeline.wait(lambda s: bool(s.turns) and s.turns[0].reply == "I ")
    pipeline.stop()
    turn = pipeline.wait(is_over()).turns[0]
    assert (turn.status, turn.reply) == ("stopped", "I ")


def test_whoever_speaks_again_gets_an_answer_to_both(models, begin, fakes):
    models.responder.gate = threading.Event()
    pipeline = begin(models.parts())
    pipeline.say("one")
    pipeline.wait(lambda s: bool(s.turns) and s.turns[0].reply == "I ")
    pipeline.say("two")
    pipeline.wait(is_over(0))
    models.responder.gate.set()
    session = pipeline.wait(is_over(1))
    assert [turn.status for turn in session.turns] == ["stopped", "answered"]
    assert [m.content for m in models.responder.asked[1][0]] == ["one", "I", "two"]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ModelError("Expected a token, got none."), "Expected a token, got none."),
        (RuntimeError("he said: a secret"), "RuntimeError"),
    ],
)
def test_a_model_that_fails_leaves_a_sentence_and_the_talk_goes_on(
    models, begin, error, sentence, caplog
):
    models.responder.error = error
    pipeline = begin(models.parts())
    pipeline.say("hello")
    turn = pipeline.wait(is_over()).turns[0]
    assert turn.status == "failed"
    assert sentence in turn.failure
    assert "secret" not in turn.failure + caplog.text
    models.responder.error = None
    pipeline.say("again")
    assert pipeline.wait(is_over(1)).turns[1].status == "answered"


def test_a_transcriber_that_fails_leaves_a_sentence(models, begin, make_estimate, spoken):
    models.transcriber.error = TranscriptionError("Expected words, but the decoder stopped.")
    pipeline = begin(models.parts())
    models.live.finished.append(make_estimate("sad", "sad"))
    pipeline.push_audio(0.0, spoken, 16000)
    assert "the decoder stopped" in pipeline.wait(is_over()).turns[0].failure


def test_a_recogniser_that_fails_is_started_anew_and_typed_words_are_still_answered(
    models, begin, fakes
):
    models.live.error = RuntimeError("broken")
    pipeline = begin(models.parts())
    pipeline.push_frame(0.0, RGB)
    session = pipeline.wait(lambda s: s.notice is not None)
    assert "started anew" in session.notice
    pipeline.say("hello")
    assert pipeline.wait(is_over()).turns[0].status == "answered"
    assert len(models.recognizer.opened) == 2


def test_speech_without_words_is_not_answered(models, begin, make_estimate, spoken):
    models.transcriber.texts = ["  "]
    pipeline = begin(models.parts())
    models.live.finished.append(make_estimate("sad", "sad"))
    pipeline.push_audio(0.0, spoken, 16000)
    assert pipeline.wait(is_over()).turns[0].status == "unheard"
    assert models.responder.asked == []


def test_several_people_in_the_picture_make_one_turn(models, begin, make_estimate, spoken):
    pipeline = begin(models.parts())
    models.live.finished += [make_estimate("sad", "sad"), make_estimate("happy")]
    pipeline.push_audio(0.0, spoken, 16000)
    pipeline.wait(is_over())
    pipeline.say("next")
    session = pipeline.wait(is_over(1))
    assert [turn.text for turn in session.turns] == ["hello there", "next"]
    assert session.turns[0].estimate.label == "sad"


def test_a_correction_answers_the_newest_turn_again_and_counts_from_then_on(
    models, begin, make_estimate
):
    models.live.face = make_estimate("happy")
    pipeline = begin(models.parts())
    pipeline.say("my dog ran away")
    pipeline.wait(is_over())
    pipeline.correct(0, "sad")
    pipeline.wait(lambda s: len(models.responder.asked) == 2 and is_over()(s))
    assert models.responder.asked[1][1].label == "sad"
    pipeline.say("yes")
    pipeline.wait(is_over(1))
    assert models.responder.asked[2][0][0].affect.label == "sad"


def test_correcting_an_older_turn_answers_nothing_again(models, begin):
    pipeline = begin(models.parts())
    pipeline.say("one")
    pipeline.wait(is_over())
    pipeline.say("two")
    pipeline.wait(is_over(1))
    pipeline.correct(0, "angry")
    assert pipeline.session.turns[0].correction == "angry"
    assert len(models.responder.asked) == 2


def test_forget_deletes_the_talk_and_begins_with_a_fresh_recogniser(models, begin, make_moment):
    models.responder.gate = threading.Event()
    models.live.moment = make_moment()
    pipeline = begin(models.parts())
    pipeline.push_frame(0.0, RGB)
    pipeline.say("a secret")
    pipeline.wait(lambda s: bool(s.turns) and s.turns[0].reply == "I ")
    pipeline.forget()
    assert pipeline.session.turns == ()
    assert pipeline.session.moment is None
    assert pipeline.session.camera
    models.responder.gate.set()
    pipeline.say("hello")
    session = pipeline.wait(is_over())
    assert [turn.text for turn in session.turns] == ["hello"]
    assert [m.content for m in models.responder.asked[-1][0]] == ["hello"]
    assert len(models.recognizer.opened) == 2


def test_no_sound_is_kept_once_it_was_written_down(models, begin, make_estimate, spoken):
    pipeline = begin(models.parts())
    models.live.finished.append(make_estimate("sad", "sad"))
    pipeline.push_audio(0.0, spoken, 16000)
    pipeline.wait(is_over())
    freed = threading.Event()
    weakref.finalize(models.transcriber.heard.pop(), freed.set)
    assert freed.wait(PATIENCE_S)


def test_two_sessions_of_the_same_models_do_not_hear_each_other(models, begin, fakes):
    one, other = fakes["FakeLive"](), fakes["FakeLive"]()
    models.recognizer.lives = [one]
    first = begin(models.parts())
    first.push_frame(1.0, RGB)
    first.say("mine")
    first.wait(is_over())
    models.recognizer.lives = [other]
    second = begin(models.parts())
    second.push_frame(2.0, RGB)
    second.say("yours")
    second.wait(is_over())
    assert [time_s for time_s, _ in one.frames] == [1.0]
    assert [time_s for time_s, _ in other.frames] == [2.0]
    assert [turn.text for turn in first.session.turns] == ["mine"]
    assert [m.content for m in models.responder.asked[1][0]] == ["yours"]


def test_words_and_sound_wait_for_the_models_to_load(models, begin):
    loading = Future()
    pipeline = begin(loading)
    assert pipeline.session.readiness == "warming up"
    pipeline.push_frame(0.0, RGB)
    pipeline.push_audio(0.0, SECOND, 16000)
    pipeline.say("hello")
    assert pipeline.session.turns[0].status == "waiting"
    loading.set_result(models.parts().result())
    session = pipeline.wait(is_over())
    assert (session.readiness, session.turns[0].status) == ("ready", "answered")
    assert (len(models.live.frames), len(models.live.sounds)) == (0, 1)


def test_models_that_cannot_be_loaded_are_reported(begin):
    loading = Future()
    pipeline = begin(loading)
    loading.set_exception(ModelError("Expected a model, got 'nonsense'."))
    assert "nonsense" in pipeline.session.notice
    assert pipeline.session.readiness == "failed"


def test_more_turns_than_may_wait_are_refused_in_words(begin):
    pipeline = begin(Future(), bounds=Bounds(turns=2))
    for word in ("one", "two", "three"):
        pipeline.say(word)
    assert [turn.text for turn in pipeline.session.turns] == ["one", "two"]
    assert "2 turns wait" in pipeline.session.notice


def test_a_closed_pipeline_holds_nothing_and_takes_nothing(models, clock):
    pipeline = Pipeline(models.parts(), clock=clock)
    pipeline.consent(camera=True, microphone=True)
    pipeline.say("a secret")
    pipeline.wait(is_over())
    pipeline.close()
    pipeline.push_frame(0.0, RGB)
    pipeline.say("more")
    assert pipeline.session.turns == ()
    assert pipeline.join()


def test_closing_while_the_models_load_starts_nothing(models, clock):
    loading = Future()
    pipeline = Pipeline(loading, clock=clock)
    pipeline.close()
    loading.set_result(models.parts().result())
    assert pipeline.join()
    assert models.recognizer.opened == []


def test_waiting_for_what_never_comes_says_so(models, begin):
    with pytest.raises(IntegrationError, match=r"0\.01 s"):
        begin(models.parts()).wait(lambda s: False, timeout_s=0.01)


def test_the_talk_of_an_unknown_turn_is_empty(models, begin):
    assert messages_of(begin(models.parts()).session, 7) == []


def test_of_many_corrections_only_the_newest_waits_for_an_answer(models, begin):
    loading = Future()
    pipeline = begin(loading)
    pipeline.say("hello")
    for emotion in ("sad", "angry") * 25:
        pipeline.correct(0, emotion)
    loading.set_result(models.parts().result())
    pipeline.wait(is_over())
    pipeline.say("more")
    pipeline.wait(is_over(1))
    asked = [messages[-1].content for messages, _ in models.responder.asked]
    assert asked.count("hello") <= 2  # the typed turn's own job and the newest correction's
    assert models.responder.asked[0][1].label == "angry"


def test_where_nobody_can_answer_nothing_waits_for_an_answer(begin):
    loading = Future()
    pipeline = begin(loading)
    loading.set_exception(ModelError("Expected a model, got 'nonsense'."))
    pipeline.say("hello")
    pipeline.correct(0, "sad")
    assert pipeline.session.turns[0].correction == "sad"
    assert pipeline._waiting == []


def speak(pipeline, models, wave, *, start_s=0.0, estimate=None):
    """Let somebody speak: the recogniser's estimate first, then the sound in chunks."""
    if estimate is not None:
        models.live.finished.append(estimate)
    for i in range(0, len(wave), 640):
        pipeline.push_audio(start_s + i / 16000, wave[i : i + 640], 16000)


def test_a_turn_says_how_long_was_waited_for_what(models, begin, make_estimate, spoken):
    pipeline = begin(models.parts())
    speak(pipeline, models, spoken, estimate=make_estimate("sad", "sad"))
    turn = pipeline.wait(is_over()).turns[0]
    assert 0.6 <= turn.pause_s <= 0.9
    assert (turn.heard_after_s, turn.read_after_s, turn.waited_s) == (0.0, 0.0, 0.0)


def test_several_utterances_of_a_turn_are_joined(models, begin, make_estimate, buzz, hush):
    models.transcriber.texts = ["my dog and", "it ran away"]
    pipeline = begin(models.parts())
    wave = np.concatenate([hush(0.5), buzz(2.0), hush(1.2), buzz(1.0), hush(3.5)])
    models.live.finished += [
        make_estimate("sad", "sad", top=0.9, start_s=0.4, end_s=2.6),
        make_estimate("happy", "happy", top=0.9, start_s=3.6, end_s=4.7),
    ]
    # the words of the first utterance break off, which is known before its pause is over
    speak(pipeline, models, wave[: round(3.3 * 16000)])
    pipeline.wait(lambda s: s.hearing == "my dog and")
    speak(pipeline, models, wave[round(3.3 * 16000) :], start_s=3.3)
    turn = pipeline.wait(is_over()).turns[0]
    assert turn.text == "my dog and it ran away"
    assert (turn.estimate.start_s, turn.estimate.end_s) == (0.4, 4.7)
    assert turn.estimate.label == "sad"
    assert pipeline.session.hearing == ""


def begin_answer(models, pipeline):
    models.responder.gate = threading.Event()
    pipeline.say("hello")
    pipeline.wait(lambda s: bool(s.turns) and s.turns[0].reply == "I ")


def test_a_voice_ducks_the_answer_and_goes_on_speaking_takes_the_turn(
    models, begin, make_estimate, buzz, hush
):
    pipeline = begin(models.parts())
    begin_answer(models, pipeline)
    speak(pipeline, models, np.concatenate([hush(0.5), buzz(0.3)]))
    assert pipeline.wait(lambda s: s.ducked).turns[0].status == "answering"
    speak(pipeline, models, buzz(0.8), start_s=0.8)
    session = pipeline.wait(is_over())
    assert session.turns[0].status == "stopped"
    assert (session.ducked, session.hushed_turn) == (False, 0)
    models.responder.gate.set()
    speak(pipeline, models, hush(1.5), start_s=1.6)
    session = pipeline.wait(is_over(1))
    assert [turn.status for turn in session.turns] == ["stopped", "answered"]
    assert session.turns[1].text == "hello there"


def test_a_short_mhm_lets_the_answer_go_on(models, begin, buzz, hush):
    models.transcriber.texts = ["mhm"]
    pipeline = begin(models.parts())
    begin_answer(models, pipeline)
    speak(pipeline, models, np.concatenate([hush(0.5), buzz(0.3), hush(0.3)]))
    pipeline.wait(lambda s: s.ducked)
    speak(pipeline, models, hush(1.0), start_s=1.1)
    pipeline.wait(lambda s: not s.ducked)
    pipeline.wait(lambda s: bool(models.transcriber.heard))
    speak(pipeline, models, hush(2.0), start_s=2.1)
    models.responder.gate.set()
    session = pipeline.wait(is_over())
    assert [turn.reply for turn in session.turns] == ["I see."]
    assert session.hushed_turn is None


def test_an_agent_that_hears_itself_says_so_and_does_not_answer(models, begin, buzz, hush):
    models.responder.pieces = ("I am sorry to hear that. ", "What happened?")
    models.transcriber.texts = ["i am sorry to hear bat"]
    models.responder.gate = threading.Event()
    pipeline = begin(models.parts())
    pipeline.say("my dog ran away")
    pipeline.wait(lambda s: s.speech is not None and bool(s.speech.sentences))
    pipeline.spoke(True)
    shown = []
    pipeline.watch(lambda: shown.append(pipeline.session.hearing))
    push_in_pieces(pipeline, np.concatenate([hush(0.5), buzz(1.5), hush(1.0)]))
    pipeline.wait(lambda s: bool(models.transcriber.heard))
    push_in_pieces(pipeline, hush(0.2), start_s=3.0)
    session = pipeline.wait(lambda s: s.notice is not None)
    assert "own voice" in session.notice
    assert not any(shown)
    assert len(session.turns) == 1


def test_who_stops_an_answer_hushes_it(models, begin):
    pipeline = begin(models.parts())
    begin_answer(models, pipeline)
    pipeline.stop()
    session = pipeline.wait(is_over())
    assert (session.hushed_turn, session.speech) == (0, None)


def test_words_that_were_written_down_wrongly_are_corrected_and_answered_again(models, begin):
    pipeline = begin(models.parts())
    pipeline.say("my doc ran away")
    pipeline.wait(is_over())
    pipeline.edit(0, " my dog ran away ")
    pipeline.wait(lambda s: len(models.responder.asked) == 2 and is_over()(s))
    assert [m.content for m in models.responder.asked[1][0]] == ["my dog ran away"]
    assert pipeline.session.turns[0].answer == 2
    pipeline.edit(0, "my dog ran away")
    pipeline.edit(7, "nobody said this")
    pipeline.say("yes")
    pipeline.wait(is_over(1))
    pipeline.edit(0, "my cat ran away")
    assert len(models.responder.asked) == 3
    assert pipeline.session.turns[0].text == "my cat ran away"


def test_words_are_corrected_before_they_are_written_down(models, begin, spoken, fakes):
    gate, entered = threading.Event(), threading.Event()

    class Slow(fakes["FakeTranscriber"]):
        def transcribe(self, samples):
            entered.set()
            assert gate.wait(PATIENCE_S)
            return super().transcribe(samples)

    models.transcriber = Slow("the doc runaway")
    pipeline = begin(models.parts())
    speak(pipeline, models, spoken)
    pipeline.wait(lambda s: bool(s.turns))
    assert entered.wait(PATIENCE_S)
    pipeline.edit(0, "my dog ran away")
    gate.set()
    session = pipeline.wait(lambda s: s.turns[0].status == "answered")
    assert session.turns[0].text == "my dog ran away"
    assert [m[-1].content for m, _ in models.responder.asked] == ["my dog ran away"]


def test_corrections_count_for_the_rest_of_the_talk(models, begin, make_estimate, fakes):
    models.live.face = make_estimate("happy")
    pipeline = begin(models.parts())
    for number in range(5):
        pipeline.say("hello")
        pipeline.wait(is_over(number))
        pipeline.correct(number, "sad")
        pipeline.wait(
            lambda s, n=number: s.turns[n].affect.label == "sad" and s.turns[n].status == "answered"
        )
    pipeline.say("and now")
    session = pipeline.wait(is_over(5))
    assert session.turns[5].estimate.label == "happy"
    assert session.turns[5].affect.label == session.turns[5].seems.label == "sad"
    pipeline.correct(0, "fear")  # what an earlier answer went by stays as it was
    assert pipeline.session.turns[5].seems == session.turns[5].seems
    models.recognizer.lives = [fakes["FakeLive"](face=make_estimate("happy"))]
    pipeline.forget()
    pipeline.say("who are you")
    assert pipeline.wait(is_over()).turns[0].affect.label == "happy"


def test_the_pictures_behind_an_estimate_come_with_it(models, begin, make_estimate):
    models.live.face = make_estimate("happy")
    pipeline = begin(models.parts())
    pipeline.say("look")
    evidence = pipeline.wait(is_over()).turns[0].evidence
    assert evidence is None or evidence.faces  # an estimate without attention shows nothing


def test_a_microphone_switched_off_drops_what_is_half_said(models, begin, buzz, hush):
    pipeline = begin(models.parts())
    speak(pipeline, models, np.concatenate([hush(0.5), buzz(1.0)]))
    pipeline.wait(lambda s: s.moment is not None)
    pipeline.switch("microphone", False)
    pipeline.switch("microphone", True)
    speak(pipeline, models, hush(2.0), start_s=1.5)
    pipeline.say("typed")
    session = pipeline.wait(is_over())
    assert [turn.text for turn in session.turns] == ["typed"]


def test_forgetting_in_the_middle_of_a_word_leaves_nothing_of_it(models, begin, buzz, hush):
    pipeline = begin(models.parts())
    speak(pipeline, models, np.concatenate([hush(0.5), buzz(1.0)]))
    pipeline.forget()
    speak(pipeline, models, hush(2.0), start_s=1.5)
    pipeline.say("typed")
    session = pipeline.wait(is_over())
    assert [turn.text for turn in session.turns] == ["typed"]
    assert session.hearing == ""


def test_whoever_watches_hears_of_every_change_until_the_end(models, begin):
    pipeline = begin(models.parts())
    seen = []
    unwatch = pipeline.watch(lambda: seen.append(pipeline.session))
    pipeline.spoke(True)
    unwatch()
    pipeline.spoke(False)
    assert len(seen) == 1


def test_a_broken_ear_is_replaced_and_says_so(models, begin, spoken):
    pipeline = begin(models.parts())
    pipeline.push_audio(0.0, SECOND[:16], 3)
    assert "Listening failed" in pipeline.wait(lambda s: s.notice is not None).notice
    models.live.finished.clear()
    speak(pipeline, models, spoken, start_s=10.0)
    assert pipeline.wait(is_over()).turns[0].text == "hello there"
