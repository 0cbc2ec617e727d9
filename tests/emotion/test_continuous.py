"""From RECOLA's files to a trained, scored network: on a small RECOLA made here."""

import wave
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from emotion import CorpusError, checkpoint
from emotion.comparison import continuous
from emotion.comparison.system import Options
from emotion.comparison.table import markdown
from emotion.errors import CheckpointError
from emotion.face.detector import DetectedFace
from emotion.media import Picture
from emotion.metrics import concordance
from emotion.models.end_to_end import EndToEndConfig
from emotion.models.svr import WindowedSVRConfig
from emotion.report import RESAMPLES, SEED
from emotion.scoring import score
from emotion.training.cli import RECIPES as COMMANDS
from emotion.training.continuous import (
    STEP_S,
    Rows,
    concordance_intervals,
    face_crops,
    load_recordings,
)
from emotion.training.end_to_end import (
    RECIPES,
    EndToEndRecipe,
    EndToEndTask,
    prepare_faces,
    rate_recording,
    score_continuous,
    score_end_to_end,
    train_end_to_end,
)
from emotion.training.loop import Schedule
from emotion.training.postprocessing import PostProcessingSearch
from emotion.training.svr import RECIPES as SVR_RECIPES
from emotion.training.svr import SVRRecipe, low_level_features, score_svr, train_svr

STEPS = 100
SIDE = 64

SMALL = EndToEndConfig(
    filters=8,
    kernels=(8, 8),
    map_pool=8,
    side=16,
    stem=4,
    widths=(4,),
    blocks=(1,),
    hidden=8,
    layers=1,
    waveform_dropout=0.0,
    feature_dropout=0.0,
)
RECIPE = EndToEndRecipe(
    SMALL,
    Schedule(epochs=2, batch=2, learning_rate=0.02, warmup=0.0, weight_decay=0.0, average=0.5),
    steps=25,
    enlarged=18,
    search=PostProcessingSearch(windows=(5, 11), shifts=(-5, 0, 5)),
)
SOUND = replace(RECIPE, config=replace(SMALL, modalities="audio"))


class CentredFace:
    """Says that a face fills the middle of every picture, with level eyes."""

    def __init__(self):
        self.searched = 0

    def detect(self, frame):
        self.searched += 1
        return self.refine(frame, [None])

    def refine(self, frame, boxes):
        height, width = frame.shape[:2]
        points = [[0.4, 0.4], [0.6, 0.4], [0.5, 0.5], [0.4, 0.6], [0.6, 0.6]]
        landmarks = np.array(points, np.float32) * (width, height)
        box = (0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height)
        return [DetectedFace(box, landmarks, 0.99) for _ in boxes]


class NoFace:
    def detect(self, frame):
        return []

    def refine(self, frame, boxes):
        return [None for _ in boxes]


def course(generator):
    """(step,) in [-0.8, 0.8], as slow as feelings are."""
    phase, rate = generator.uniform(0, 2 * np.pi), generator.uniform(1, 2)
    return 0.8 * np.sin(phase + rate * 2 * np.pi * np.arange(STEPS) / STEPS)


def write_recording(folder, take, arousal, valence, generator):
    """One person: loudness tells arousal; how bright and how upright the stripes are, valence."""
    noise = generator.uniform(-1, 1, (STEPS, 640)) * (0.5 + 0.55 * arousal)[:, None] * 0.8
    with wave.open(str(folder / "recordings_audio" / f"{take}.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((noise.ravel() * 32767).astype("<i2").tobytes())
    with av.open(str(folder / "recordings_video" / f"{take}.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        for value in valence:
            stripes = np.tile(40 * (np.arange(SIDE) // 4 % 2), (SIDE, 1))
            upright = np.arange(SIDE) < SIDE / 2 + 14 * value
            grey = 110 + 90 * value + np.where(upright, stripes, stripes.T)
            picture = np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    for name, values in (("arousal", arousal), ("valence", valence)):
        lines = [
            "@relation GOLDSTANDARD",
            "@attribute Instance_name string",
            "@attribute frameTime numeric",
            f"@attribute {name} numeric",
            "@data",
            *(f"'{take}',{step * STEP_S:.2f},{value:.6f}" for step, value in enumerate(values)),
        ]
        file = folder / "ratings_gold_standard" / name / f"{take}.arff"
        file.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def recola(tmp_path_factory):
    """A root with a RECOLA of seven people, four seconds each, in the layout of AVEC."""
    root = tmp_path_factory.mktemp("corpora")
    folder = root / "RECOLA"
    for part in (
        "recordings_audio",
        "recordings_video",
        "ratings_gold_standard/arousal",
        "ratings_gold_standard/valence",
    ):
        (folder / part).mkdir(parents=True)
    generator = np.random.default_rng(1)
    for take in ("train_1", "train_2", "train_3", "dev_1", "dev_2", "test_1", "test_2"):
        write_recording(folder, take, course(generator), course(generator), generator)
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


# --------------------------------------------------------------------------- reading


def test_sound_faces_and_ratings_are_aligned(recola, cache):
    first, _, _ = load_recordings(recola, "train", cache=cache, finder=CentredFace())
    assert (first.clip.speaker, len(first)) == ("recola:train_1", STEPS)
    piece = first.piece(10, 30)
    assert piece.waveform.shape == (20, 640)
    assert piece.crops.shape == (20, 96, 96, 3)
    loudness = first.piece().waveform.std(axis=1)
    brightness = first.piece().crops[:, 30:60, 30:60].mean(axis=(1, 2, 3))
    assert np.corrcoef(loudness, first.truth[:, 0])[0, 1] > 0.999
    assert np.corrcoef(brightness, first.truth[:, 1])[0, 1] > 0.99


def test_prepared_recordings_are_read_from_the_disk_the_second_time(recola, tmp_path):
    finder = CentredFace()
    once = load_recordings(recola, "valid", cache=tmp_path, finder=finder)
    searched = finder.searched
    again = load_recordings(recola, "valid", cache=tmp_path, finder=finder)
    memory = load_recordings(recola, "valid", cache=None, finder=CentredFace())
    assert finder.searched == searched > 0
    for one, other, third in zip(once, again, memory, strict=True):
        for part in ("truth", "waveform", "crops"):
            wanted = getattr(one.piece(5, 50), part)
            assert np.array_equal(wanted, getattr(other.piece(5, 50), part))
            assert np.array_equal(wanted, getattr(third.piece(5, 50), part))
    # preparing goes on where it was killed: one file a recording and modality
    next(tmp_path.glob("*faces*")).unlink()
    load_recordings(recola, "valid", cache=tmp_path, finder=finder)
    assert finder.searched == searched + searched / 2


def test_only_what_is_asked_for_is_prepared(recola, tmp_path):
    (sound, _) = load_recordings(recola, "test", cache=tmp_path, faces=False)
    assert sound.crops is None
    assert not list(tmp_path.glob("*faces*"))


def test_a_recording_without_a_face_is_refused(recola):
    with pytest.raises(CorpusError, match="Expected a face in recola dev_1, found none"):
        load_recordings(recola, "valid", cache=None, finder=NoFace())


def test_a_part_or_dimension_that_is_not_there_is_refused(recola):
    with pytest.raises(CorpusError, match="Expected recordings of 'dev'"):
        load_recordings(recola, "dev", cache=None)
    with pytest.raises(CorpusError, match="Expected ratings of dominance"):
        load_recordings(recola, "valid", cache=None, faces=False, dimensions=("dominance",))


def test_a_lost_face_is_held_and_gaps_are_filled():
    class Blinking(CentredFace):
        def refine(self, frame, boxes):
            return super().refine(frame, boxes) if frame.mean() < 200 else [None for _ in boxes]

        def detect(self, frame):
            return self.refine(frame, [None]) if frame.mean() < 200 else []

    def seen(levels):  # by step; at 250 no face is seen
        pictures = [
            Picture(step * STEP_S, np.full((64, 64, 3), level, np.uint8))
            for step, level in levels.items()
        ]
        return face_crops(pictures, Blinking())[:, 48, 48, 0].tolist()

    lost = seen({0: 10, 1: 20, 2: 250, 4: 250, 20: 70})
    assert lost == [10, *[20] * 19, 70]
    assert seen({0: 250, 10: 30, 11: 40}) == [*[30] * 11, 40]


def test_the_largest_of_several_faces_is_followed():
    class Two(CentredFace):
        def refine(self, frame, boxes):
            (middle,) = super().refine(frame, [None])
            corner = replace(middle, box=(0.0, 0.0, 16.0, 16.0))
            return [corner, middle][: len(boxes)]

        def detect(self, frame):
            return self.refine(frame, [None, None])

    frame = np.zeros((64, 64, 3), np.uint8)
    frame[16:48, 16:48] = 200
    crops = face_crops([Picture(0.0, frame), Picture(STEP_S, frame)], Two())
    assert crops[:, 48, 48, 0].tolist() == [200, 200]


def test_rows_are_slices_wherever_they_lie(tmp_path):
    from safetensors.numpy import save_file

    array = np.arange(24).reshape(8, 3)
    save_file({"rows": array}, tmp_path / "rows.safetensors")
    for rows in (Rows(array), Rows(tmp_path / "rows.safetensors")):
        assert len(rows) == 8
        assert np.array_equal(rows[2:5], array[2:5])
        assert np.array_equal(rows[6:99], array[6:])


# -------------------------------------------------------------------------- training


def test_the_papers_recipes():
    assert set(RECIPES) == {"end-to-end", "end-to-end-audio", "end-to-end-video"}
    recipe = RECIPES["end-to-end"]
    assert (recipe.steps, recipe.enlarged, recipe.config.side) == (150, 110, 96)
    assert recipe.schedule.learning_rate == 1e-4
    assert recipe.config == EndToEndConfig()


def test_training_learns_what_loudness_tells(recola, cache, tmp_path):
    recipe = replace(SOUND, schedule=replace(SOUND.schedule, epochs=12))
    model = train_end_to_end(recipe, recola, tmp_path, cache=cache)
    facts = checkpoint.read(tmp_path).training
    assert facts["development"]["arousal"] > 0.7
    assert facts["development"]["arousal"] >= facts["development_raw"]["arousal"]
    assert facts["speakers"] == ["recola:train_1", "recola:train_2", "recola:train_3"]
    assert facts["held_out_speakers"] == ["recola:dev_1", "recola:dev_2"]

    report = score_end_to_end(tmp_path, recola, split="test", cache=cache)
    assert score_continuous(tmp_path, recola, split="test", cache=cache) == report
    assert score("recola", recola, model=tmp_path, cache=cache) == report
    assert report["arousal"]["low"] <= report["arousal"]["value"] <= report["arousal"]["high"]
    assert report["arousal"]["value"] > 0.5
    assert (report["recordings"], report["steps"]) == (2, 2 * STEPS)
    assert not report["post_processing_chosen_here"]

    developed = score_end_to_end(tmp_path, recola, split="valid", cache=cache)
    assert developed["post_processing_chosen_here"]
    # the stored matrices are float16, so figures agree to that
    assert developed["arousal"]["value"] == pytest.approx(facts["development"]["arousal"], abs=0.01)
    assert model.config == recipe.config


def test_training_learns_what_a_face_tells(recola, cache, tmp_path):
    config = replace(SMALL, modalities="video")
    recipe = replace(RECIPE, config=config, schedule=replace(RECIPE.schedule, epochs=10))
    train_end_to_end(recipe, recola, tmp_path, cache=cache, finder=CentredFace())
    assert checkpoint.read(tmp_path).training["development"]["valence"] > 0.7


def test_a_killed_training_resumes_to_equal_weights(recola, cache, tmp_path, monkeypatch):
    monkeypatch.setattr("emotion.training.loop.SAVE_EVERY_S", 0.0)
    recipe = replace(RECIPE, mirrored=0.5, context=5)
    options = {"cache": cache, "finder": CentredFace()}
    train_end_to_end(recipe, recola, tmp_path / "whole", **options)
    loss, calls = EndToEndTask.loss, []

    def killed(self, *arguments):
        calls.append(0)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return loss(self, *arguments)

    monkeypatch.setattr(EndToEndTask, "loss", killed)
    with pytest.raises(KeyboardInterrupt):
        train_end_to_end(recipe, recola, tmp_path / "cut", **options)
    train_end_to_end(recipe, recola, tmp_path / "cut", resume=True, **options)
    assert len(calls) == 2 * 6 + 1
    assert checkpoint.digest(tmp_path / "cut") == checkpoint.digest(tmp_path / "whole")
    whole, cut = (checkpoint.read(tmp_path / name).training for name in ("whole", "cut"))
    assert whole == cut


def test_the_best_epoch_is_kept(recola, cache, tmp_path):
    train, valid = (
        load_recordings(recola, s, cache=cache, faces=False) for s in ("train", "valid")
    )
    task = EndToEndTask(SOUND, train, valid, tmp_path)
    task.epoch_done(task.model, 0)
    first = checkpoint.read(tmp_path).training["development"]["mean"]
    worse = EndToEndTask(SOUND, train, valid, tmp_path)
    with torch.no_grad():
        worse.model.rate.weight.zero_()
    assert worse.epoch_done(worse.model, 1)["ccc"] < first
    assert checkpoint.read(tmp_path).training["epochs"] == 1
    worse.epoch_done(worse.model, 0)  # a new training does not mind what an old one reached
    assert checkpoint.read(tmp_path).training["development"]["mean"] == pytest.approx(0, abs=1e-6)


def test_recordings_are_rated_alike_whatever_the_pieces(recola, cache):
    (recording, _) = load_recordings(recola, "valid", cache=cache, finder=CentredFace())
    task = EndToEndTask(RECIPE, [recording], [], Path())
    model = task.model.eval()
    whole = rate_recording(model, recording, replace(RECIPE, steps=STEPS))
    for steps in (1, 7, 25):
        pieces = rate_recording(model, recording, replace(RECIPE, steps=steps))
        np.testing.assert_allclose(pieces, whole, atol=1e-5)


def test_a_context_is_heard_but_not_scored(recola, cache, monkeypatch):
    monkeypatch.setattr("emotion.training.end_to_end.mixed_precision", lambda model: nullcontext())
    (recording, _) = load_recordings(recola, "valid", cache=cache, faces=False)
    recipe = replace(SOUND, context=10)
    task = EndToEndTask(recipe, [recording], [], Path())
    model = task.model.eval()
    loss = task.loss(torch.tensor([0, 2]), 0.0, torch.Generator().manual_seed(1))
    piece = recording.piece(40, 75)
    with torch.inference_mode():
        first = model(torch.from_numpy(recording.piece(0, 25).waveform)[None]).ratings[0]
        second = model(torch.from_numpy(piece.waveform)[None]).ratings[0, 10:]
    said = torch.cat([first, second]).numpy()
    truth = np.concatenate([recording.truth[:25], recording.truth[50:75]])
    wanted = 1 - np.mean([concordance(truth[:, d], said[:, d]) for d in range(2)])
    assert loss.item() == pytest.approx(wanted, abs=1e-5)


def test_faces_are_enlarged_cut_and_mirrored():
    crops = torch.zeros(3, 20, 20, 3, dtype=torch.uint8)
    crops[:, :, :10] = 255  # the left half is white
    middle = prepare_faces(crops, 10, 20)
    assert middle.shape == (3, 3, 10, 10)
    assert middle[..., :5].min() == 1
    assert middle[..., 5:].max() == 0
    generator = torch.Generator().manual_seed(1)
    places = {
        int(prepare_faces(crops, 10, 20, generator=generator)[0, 0, 0].sum()) for _ in range(40)
    }
    assert places == set(range(11))  # every place
    turned = prepare_faces(crops, 20, 20, mirrored=1.0, generator=generator)
    assert turned[..., :10].max() == 0


# ------------------------------------------------------------- hand-made references


@pytest.mark.parametrize(
    ("features", "dimension"), [("egemaps", "arousal"), ("lbp-top", "valence")]
)
def test_the_references_learn_and_are_scored_alike(recola, cache, tmp_path, features, dimension):
    if features == "egemaps":
        pytest.importorskip("opensmile")
    config = WindowedSVRConfig(features, window=9, side=24, blocks=2)
    recipe = SVRRecipe(config, costs=(1e-3, 0.1), every=2, search=RECIPE.search)
    model = train_svr(recipe, recola, tmp_path, cache=cache, finder=CentredFace())
    facts = checkpoint.read(tmp_path).training
    assert facts["development"][dimension] > 0.7
    assert set(model.arrays["cost"]) <= {1e-3, 0.1}
    figures = score_svr(tmp_path, recola, split="valid", cache=cache, finder=CentredFace())
    assert score_continuous(tmp_path, recola, split="valid", cache=cache) == figures
    assert figures[dimension]["value"] == pytest.approx(facts["development"][dimension], abs=1e-9)
    # what was prepared is used again
    again = train_svr(recipe, recola, tmp_path, cache=cache, finder=NoFace())
    assert np.array_equal(again.arrays["weight"], model.arrays["weight"])


def test_long_recordings_are_looked_at_in_stretches(recola, cache, monkeypatch):
    (recording, _) = load_recordings(recola, "valid", cache=cache, finder=CentredFace())
    config = WindowedSVRConfig("lbp-top", side=24, blocks=2)
    whole = low_level_features(recording, config, None)
    assert whole.shape == (STEPS, 3 * 59 * 4)
    monkeypatch.setattr("emotion.training.svr.CHUNK_STEPS", 7)
    assert np.array_equal(low_level_features(recording, config, None), whole)


# --------------------------------------------------------------------------- scoring


def test_intervals_are_those_of_resampled_recordings():
    generator = np.random.default_rng(2)
    truth = [generator.standard_normal((30, 1)) + i for i in range(4)]
    said = [t + generator.standard_normal(t.shape) for t in truth]
    figures = concordance_intervals(said, truth, ["arousal"])["arousal"]
    drawn = np.random.default_rng(SEED).multinomial(4, np.full(4, 0.25), size=RESAMPLES)
    values = []
    for times in drawn:
        chosen = [i for i, often in enumerate(times) for _ in range(often)]
        rows = (np.concatenate([part[i][:, 0] for i in chosen]) for part in (truth, said))
        values.append(concordance(*rows))
    low, high = np.percentile(values, [2.5, 97.5])
    wanted = concordance(np.concatenate(truth)[:, 0], np.concatenate(said)[:, 0])
    assert figures["value"] == pytest.approx(wanted, abs=1e-12)
    assert (figures["low"], figures["high"]) == pytest.approx((low, high), abs=1e-9)


def test_one_recording_has_no_interval():
    truth = np.linspace(-1, 1, 20)[:, None]
    figures = concordance_intervals([truth], [truth], ["arousal"])
    assert figures == {"arousal": {"value": pytest.approx(1.0), "low": None, "high": None}}


def test_every_recipe_is_a_command():
    for name, recipe in (RECIPES | SVR_RECIPES).items():
        assert COMMANDS[name].load(name) == recipe
        assert COMMANDS[name].train_with() in (train_end_to_end, train_svr)


def test_another_networks_checkpoint_is_refused(recola):
    with pytest.raises(CheckpointError, match="Expected an EndToEnd"):
        score_end_to_end(checkpoint.bundled("voice"), recola)


def test_recola_is_an_arena_of_the_comparison(recola, cache, tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, "end-to-end-audio", replace(SOUND, schedule=RECIPE.schedule))
    (system,) = [s for s in continuous.SYSTEMS if s.name == "end-to-end-audio"]
    run = [recola, cache, Options(), (system,), tmp_path]
    (figures,) = continuous.continuous_figures(*run)
    (row,) = figures["systems"]
    (folder,) = (tmp_path / "recola-continuous").iterdir()
    again = score_continuous(folder, recola, split="test", cache=cache)
    assert row["arousal"] == again["arousal"]
    about = {"command": "", "commit": "", "seed": 1, "machine": ""}
    assert f"{row['arousal']['value']:.3f} [" in markdown(about | {"arenas": [figures]})
    (finished,) = continuous.continuous_figures(*run)  # a second run trains nothing
    assert finished == figures
