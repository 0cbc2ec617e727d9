import io
import json
import logging

import numpy as np
import pytest

from emotion.media import Sound, read_media
from integration.decoder import receive, send
from integration.errors import TranscriptionError
from integration.transcription import (
    PocketSphinxTranscriber,
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
def test_pocketsphinx_makes_out_words_of_a_real_voice(pocketsphinx, data_root):
    clip = data_root / "clips" / "01-01-06-01-02-01-09.mp4"
    pieces = [media.samples for media in read_media(clip) if isinstance(media, Sound)]
    heard = pocketsphinx.transcribe(np.concatenate(pieces)).split()
    spoken = {"dogs", "are", "sitting", "by", "the", "door"}
    assert len(spoken.intersection(heard)) >= 3


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


@pytest.mark.parametrize("name", ["nowhere", "a/b/c", "two words/model", "http://x.example/y"])
def test_a_name_that_no_model_can_have_is_refused_without_asking_the_hub(name, monkeypatch):
    def asked(*_, **__):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("transformers.pipeline", asked)
    with pytest.raises(TranscriptionError, match="hub id or folder"):
        load_transcriber(name)


def test_a_hub_out_of_reach_is_reported_once(monkeypatch, caplog):
    import huggingface_hub  # noqa: F401  # sets its logger's level when it is first imported

    log = logging.getLogger("huggingface_hub.utils._http")
    level = log.getEffectiveLevel()

    def unreachable(*_, **__):
        log.warning("Retrying in 1s [Retry 1/5].")
        raise OSError("no network")

    monkeypatch.setattr("transformers.pipeline", unreachable)
    with pytest.raises(TranscriptionError, match="nobody/nothing"):
        load_transcriber("nobody/nothing")
    assert caplog.text == ""
    assert log.getEffectiveLevel() == level


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
