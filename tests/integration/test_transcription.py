import io
import json

import numpy as np
import pytest

from emotion.media import Sound, read_media
from emotion.speech.vad import UtteranceDetector
from integration.decoder import SHORT_ONES, receive, send
from integration.errors import TranscriptionError
from integration.hub import folder_of
from integration.transcription import (
    MOST_AT_ONCE,
    PocketSphinxTranscriber,
    Rolling,
    WhisperTranscriber,
    load_transcriber,
)


@pytest.fixture(scope="module")
def pocketsphinx():
    transcriber = load_transcriber()
    yield transcriber
    transcriber.close()


def test_the_offline_transcriber_is_the_default(pocketsphinx):
    assert isinstance(pocketsphinx, PocketSphinxTranscriber)


@pytest.mark.data
def test_pocketsphinx_makes_out_words_of_a_real_voice(pocketsphinx, sentence):
    heard = pocketsphinx.transcribe(sentence).split()
    spoken = {"dogs", "are", "sitting", "by", "the", "door"}
    assert len(spoken.intersection(heard)) >= 3


@pytest.fixture(scope="module")
def sentence(data_root):
    """'Dogs are sitting by the door', by an actor: (sample,) at 16 kHz."""
    clip = data_root / "clips" / "01-01-06-01-02-01-09.mp4"
    sound = np.concatenate([m.samples for m in read_media(clip) if isinstance(m, Sound)])
    (utterance,) = UtteranceDetector().push(0.0, sound)
    return utterance.samples


@pytest.mark.data
def test_words_come_while_two_speak_at_once_and_do_not_mix(pocketsphinx, sentence):
    one, other = pocketsphinx.listen(), pocketsphinx.listen()
    so_far = []
    for piece in np.array_split(sentence, 6):
        so_far.append(one.push(piece))
        other.push(np.zeros_like(piece))
    words = one.finish()
    assert any(0 < len(part) < len(words) for part in so_far)
    assert len({"dogs", "are", "sitting", "by", "the", "door"} & set(words.split())) >= 3
    assert len(other.finish().split()) <= 1


def test_every_short_utterance_is_spelt_as_the_decoder_knows_it():
    from pocketsphinx import Decoder

    known = Decoder(samprate=16000, loglevel="FATAL", lm=None)
    words = {word for one in SHORT_ONES for word in one.split()}
    assert [word for word in words if known.lookup_word(word) is None] == []


def test_more_speakers_than_decoders_are_written_down_at_the_end(pocketsphinx):
    many = [pocketsphinx.listen() for _ in range(MOST_AT_ONCE + 2)]
    assert sum(isinstance(listening, Rolling) for listening in many) == 2
    for listening in many:
        listening.push(np.zeros(1600, np.float32))
        listening.drop()
    assert not isinstance(pocketsphinx.listen(), Rolling)


def test_an_utterance_whose_decoder_died_is_lost_in_words():
    transcriber = PocketSphinxTranscriber()
    listening = transcriber.listen()
    listening.push(np.zeros(1600, np.float32))
    transcriber._process.kill()
    transcriber._process.wait(20)
    with pytest.raises(TranscriptionError, match="started anew"):
        listening.push(np.zeros(1600, np.float32))
    with pytest.raises(TranscriptionError, match="lost"):
        listening.finish()
    listening.drop()
    transcriber.close()


def test_a_slow_model_is_asked_less_often(fakes, clock):
    class Slow(fakes["FakeTranscriber"]):
        def transcribe(self, samples):
            clock.time_s += 1.5
            return super().transcribe(samples)

    transcriber = Slow("one", "one two")
    rolling = Rolling(transcriber, every_s=1.0, clock=clock)
    second = np.zeros(16000, np.float32)
    said = [rolling.push(second) for _ in range(4)]
    assert said == ["one", "one", "one", "one two"]


def test_words_roll_on_each_time_enough_is_new(fakes):
    transcriber = fakes["FakeTranscriber"]("one", "one two", "one two three")
    rolling = Rolling(transcriber, every_s=1.0)
    second = np.zeros(16000, np.float32)
    assert rolling.push(second[:8000]) == ""
    assert rolling.push(second[:8000]) == "one"
    assert rolling.push(second) == "one two"
    assert rolling.finish() == "one two"  # nothing new: nothing is written down again
    rolling.push(second[:100])
    assert rolling.finish() == "one two three"
    assert [len(heard) for heard in transcriber.heard] == [16000, 32000, 32100]


def test_silence_and_nothing_have_no_words(pocketsphinx):
    assert pocketsphinx.transcribe(np.zeros(0, np.float32)) == ""
    assert len(pocketsphinx.transcribe(np.zeros(8000, np.float32)).split()) <= 1


def test_sound_of_another_shape_is_refused(pocketsphinx):
    with pytest.raises(TranscriptionError, match=r"\(2, 100\)"):
        pocketsphinx.transcribe(np.zeros((2, 100), np.float32))


def test_a_decoder_that_dies_is_started_anew():
    transcriber = PocketSphinxTranscriber()
    quiet = np.zeros(1600, np.float32)
    transcriber.transcribe(quiet)
    transcriber._process.kill()
    transcriber._process.wait(20)
    with pytest.raises(TranscriptionError, match=r"0\.1 s of speech"):
        transcriber.transcribe(quiet)
    assert isinstance(transcriber.transcribe(quiet), str)
    transcriber.close()
    transcriber.close()


def test_the_decoder_ends_with_its_owner():
    transcriber = PocketSphinxTranscriber()
    transcriber._process.stdin.close()
    assert transcriber._process.wait(30) == 0
    transcriber._process.stdout.close()


def test_messages_survive_the_pipe_and_a_cut_one_is_none():
    pipe = io.BytesIO()
    send(pipe, b"some sound")
    send(pipe, b"")
    whole = pipe.getvalue()
    pipe.seek(0)
    assert [receive(pipe), receive(pipe), receive(pipe)] == [b"some sound", b"", None]
    assert receive(io.BytesIO(whole[:8])) is None


def test_an_unknown_model_is_refused_by_name(tmp_path):
    with pytest.raises(TranscriptionError, match="nowhere"):
        load_transcriber(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("name", ["nowhere", "a/b/c", "../model", "two words/model"])
def test_a_name_that_no_model_can_have_is_refused_without_asking_the_hub(name, monkeypatch):
    def asked(*_, **__):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", asked)
    with pytest.raises(TranscriptionError, match="hub id or folder"):
        load_transcriber(name)


def test_a_hub_out_of_reach_is_asked_once_and_reported_in_a_sentence(monkeypatch, caplog):
    asked = []

    def unreachable(_, name, *, timeout):
        asked.append((name, timeout))
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unreachable)
    with pytest.raises(TranscriptionError, match=r"'nobody/nothing'.*cannot be reached"):
        load_transcriber("nobody/nothing")
    assert asked == [("nobody/nothing", 5.0)]
    assert caplog.text == ""


def test_a_model_in_the_cache_is_taken_without_asking_the_hub(monkeypatch, tmp_path):
    def asked(*_, **__):
        raise AssertionError("the hub was asked")

    snapshot = tmp_path / "models--some--whisper" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").touch()
    (tmp_path / "models--some--whisper" / "refs").mkdir()
    (tmp_path / "models--some--whisper" / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", asked)
    assert folder_of("some/whisper") == snapshot


@pytest.fixture(scope="module")
def tiny_whisper(tmp_path_factory):
    """A Whisper of random weights in a folder, as a hub model would lie there."""
    import torch
    from transformers import (
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizer,
    )

    folder = tmp_path_factory.mktemp("whisper")
    vocabulary = {letter: number for number, letter in enumerate("abcdefghijklmnop")}
    vocabulary["<|endoftext|>"] = len(vocabulary)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = WhisperTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=len(tokenizer),
            num_mel_bins=80,
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
            max_target_positions=16,
            bos_token_id=end,
            eos_token_id=end,
            pad_token_id=end,
            decoder_start_token_id=end,
            suppress_tokens=[],
            begin_suppress_tokens=[],
        )
    )
    model.generation_config.max_length = 12
    model.save_pretrained(folder)
    WhisperProcessor(WhisperFeatureExtractor(), tokenizer).save_pretrained(folder)
    return folder


def test_a_whisper_type_model_from_a_folder_writes_down_sound(tiny_whisper):
    transcriber = load_transcriber(str(tiny_whisper))
    assert isinstance(transcriber, WhisperTranscriber)
    noise = np.random.default_rng(0).standard_normal(16000).astype(np.float32) * 0.1
    assert isinstance(transcriber.transcribe(noise), str)
    assert transcriber.transcribe(noise[:0]) == ""
    with pytest.raises(TranscriptionError, match=r"\(1, 16000\)"):
        transcriber.transcribe(noise[None])
    transcriber.close()
