"""From the clips of a corpus to every trained audio-visual system, on films the test writes."""

import argparse
import os
import wave
from dataclasses import replace

import av
import numpy as np
import pytest
import torch
from PIL import Image

from emotion import EMOTIONS, CheckpointError, CorpusError, InputError, checkpoint
from emotion.comparison import clips as arenas
from emotion.comparison.clips import VideoSystem, clip_arenas
from emotion.comparison.compare import run_system
from emotion.comparison.system import System
from emotion.corpora.clip import Clip
from emotion.corpora.registry import CORPORA
from emotion.face.crop import CROP_SIDE
from emotion.face.detector import DetectedFace
from emotion.face.extra import has_dlib
from emotion.models.attention_fcn import COMPACT, AttentionFCN
from emotion.models.face_backbones import FaceEncoder, FaceEncoderConfig
from emotion.models.fusion import AttentionFBP
from emotion.models.pooled_svm import KNYAZEV, PooledSVMConfig
from emotion.models.soundnet import SoundNet, SoundNetConfig
from emotion.models.svm import SVMConfig
from emotion.report import report
from emotion.scoring import score
from emotion.training import video
from emotion.training.cli import RECIPES as COMMANDS
from emotion.training.cli import add_commands
from emotion.training.clips import ClipSettings, ClipStore, decode_clip, open_clips
from emotion.training.loop import Schedule, initialised
from emotion.training.material import Show
from emotion.training.parts import parted
from emotion.training.recipes import VoiceRecipe
from emotion.training.tune import space_of
from emotion.training.video import RECIPES, VideoTask, judge, score_video, train_video

SPEAKERS = ("DC", "JE", "JK", "KL")
CODES = {"a": "angry", "h": "happy", "sa": "sad"}
TAKES = 2
CLIP_S, RATE_HZ, SIDE = 0.4, 10, 96
SOUND_HZ = 16_000
FACE = (160, 40, 300, 200)  # of the astronaut


@pytest.fixture(scope="module")
def root(tmp_path_factory, astronaut):
    """A SAVEE of four speakers and three emotions that faces and tones tell apart."""
    root = tmp_path_factory.mktemp("corpora")
    face = np.asarray(astronaut.crop(FACE).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    for number, speaker in enumerate(SPEAKERS):
        for code in CODES:
            for take in range(1, TAKES + 1):
                stem = root / "savee" / speaker / f"{code}{take:02d}"
                write_film(stem.with_suffix(".avi"), moved(changed(face, code, number + take)))
                sound = sound_of(code, 1 + number * TAKES + take)
                write_sound(stem.with_suffix(".wav"), sound)
    return root


def changed(face, code, amount):
    """Show an emotion in a way no film does: light from above, from below, or a blur."""
    light = {"a": np.linspace(0.2, 1, SIDE), "h": np.linspace(1, 0.2, SIDE), "sa": np.full(SIDE, 1)}
    tinted = face * light[code][:, None, None] * (1 - 0.03 * amount)
    if code == "sa":
        tinted = np.asarray(Image.fromarray(tinted.astype(np.uint8)).reduce(3).resize((SIDE, SIDE)))
    return tinted.clip(0, 255).astype(np.uint8)


def moved(picture):
    """Let a picture wander over the frame for as long as a clip is."""
    return [np.roll(picture, shift, axis=1) for shift in range(round(CLIP_S * RATE_HZ))]


def write_film(path, pictures, code=None):
    """Write a film, with sound where an emotion's code is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=RATE_HZ)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuvj420p"
        track = container.add_stream("pcm_s16le", rate=SOUND_HZ, layout="mono") if code else None
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if track:
            frame = av.AudioFrame.from_ndarray(sound_of(code, 1)[None], "s16", "mono")
            frame.sample_rate = SOUND_HZ
            container.mux(track.encode(frame))
            container.mux(track.encode())


def write_sound(path, samples):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, SOUND_HZ, 0, "NONE", ""))
        out.writeframes(samples.tobytes())


def sound_of(code, seed):
    pitch = {"a": 300, "h": 600, "sa": 150}[code] * (1 + 0.01 * seed)
    t = np.arange(round(CLIP_S * SOUND_HZ)) / SOUND_HZ
    tone = sum(np.sin(2 * np.pi * pitch * k * t) / k for k in (1, 2, 3))
    noise = np.random.default_rng(seed).standard_normal(len(t))
    return (3000 * tone + 100 * noise).astype("<i2")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Every clip of the corpus is decoded and searched for faces once for this whole file."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """Little networks in a folder, as `--init` takes it."""
    folder = tmp_path_factory.mktemp("encoders")
    networks = {
        "face": lambda: FaceEncoder(FaceEncoderConfig("compact", side=24, shrink=8, dropout=0.0)),
        "voice": lambda: AttentionFCN(replace(LITTLE_VOICE, dropout=0.0)),
        "soundnet": lambda: SoundNet(SoundNetConfig(shrink=16)),
    }
    generator = torch.Generator().manual_seed(1)
    seen = {
        "face": 255 * torch.rand(16, 3, 24, 24, generator=generator),
        "voice": 3 * torch.randn(16, 60, 200, generator=generator),
        "soundnet": 0.1 * torch.randn(16, 6400, generator=generator),
    }
    for name, make in networks.items():
        network = initialised(make, 1)
        for module in network.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.momentum = 1.0
        network.train()(seen[name])  # as if trained: batch normalisation knows its figures
        checkpoint.save(folder / name, network, network.config, training={})
    return folder


LITTLE_VOICE = replace(
    COMPACT, layers=tuple(replace(x, channels=x.channels // 4) for x in COMPACT.layers)
)
SETTINGS = ClipSettings(landmarks="dlib" if has_dlib() else "five")
SCHEDULE = Schedule(
    epochs=12, batch=4, learning_rate=5e-3, average=0.5, weight_decay=0.0, warmup=0.0
)
FAST = ClipSettings(identity=False)
HELD_OUT = "savee:KL"


def little(name, **changes):
    """A recipe for a trial on the corpus above."""
    common = {
        "schedule": SCHEDULE,
        "clips": SETTINGS,
        "smoothing": 0.0,
        "functionals": "egemaps",
        "svm": SVMConfig(costs=(0.01,)),
    }
    if name == "pooled-svm":
        common["config"] = PooledSVMConfig(svm=replace(KNYAZEV, costs=(0.01,)))
    if name == "fbp-fine-tuned":
        common["schedule"] = replace(SCHEDULE, learning_rate=1e-3)
    return replace(RECIPES[name], **(common | changes))


class Finder:
    """Sees the same faces in every picture, and may fall over at one."""

    def __init__(self, *boxes, falls_at=None):
        self.boxes, self.falls_at, self.pictures = boxes or ((8, 8, 88, 88),), falls_at, 0

    def detect(self, frame):
        if self.pictures == self.falls_at:
            raise KeyboardInterrupt
        self.pictures += 1
        return [face_in(box) for box in self.boxes]

    def refine(self, frame, boxes):
        self.pictures += 1
        return [face_in(box) for box in boxes]


def face_in(box):
    left, top, right, bottom = box
    places = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
    points = places * [right - left, bottom - top] + [left, top]
    return DetectedFace(box, points.astype(np.float32), 0.99)


# --------------------------------------------------------------------------- clips to arrays


def test_a_clip_becomes_crops_times_landmarks_and_sound(root, cache):
    store = open_clips(root, ["savee"], SETTINGS, cache)
    store.prepare()
    assert len(store) == len(SPEAKERS) * len(CODES) * TAKES
    clip = store[0]
    assert clip.crops.shape == (4, CROP_SIDE, CROP_SIDE, 3)
    np.testing.assert_allclose(clip.times_s, [0.0, 0.1, 0.2, 0.3])
    assert clip.landmarks.shape == (4, 68 if has_dlib() else 5, 2)
    assert 0 < clip.landmarks.min() < clip.landmarks.max() < SIDE
    assert len(clip.waveform) == CLIP_S * SOUND_HZ
    assert 0.05 < np.abs(clip.waveform).max() < 0.5
    assert {EMOTIONS[label] for label in store.labels} == set(CODES.values())


def test_the_crops_are_those_of_the_live_path(root, cache, recognizer):
    store = open_clips(root, ["savee"], SETTINGS, cache)
    seen = []
    faces = recognizer._perception.faces

    class Watched:
        def __init__(self, perception):
            self.perception = perception

        def __getattr__(self, name):
            return getattr(self.perception, name)

        def faces(self, crops, *rest):
            seen.extend(crops)
            return faces(crops, *rest)

    film = next(p for p in sorted(root.rglob("*.avi")) if p.stem in store.clips[0].video)
    type(recognizer)(Watched(recognizer._perception)).recognize(film)
    assert len(seen) == 4
    np.testing.assert_array_equal(np.array(seen), store[0].crops)


@pytest.mark.parametrize(
    ("side", "colour", "shape"), [(48, False, (48, 48)), (128, True, (128, 128, 3))]
)
def test_side_and_colour_can_be_set(root, side, colour, shape):
    settings = replace(FAST, side=side, colour=colour, most_frames=3)
    clip = open_clips(root, ["savee"], settings, None, Finder())[0]
    assert clip.crops.shape == (3, *shape)
    assert clip.crops.dtype == np.uint8


def test_a_killed_run_goes_on_where_it_stopped(root, tmp_path):
    settings = FAST
    killed = open_clips(root, ["savee"], settings, tmp_path, Finder(falls_at=20))
    with pytest.raises(KeyboardInterrupt):
        killed.prepare()
    rest = Finder()
    store = open_clips(root, ["savee"], settings, tmp_path, rest)
    store.prepare()
    assert rest.pictures == 4 * (len(store) - 5)  # twenty pictures, or five clips, were behind
    again = Finder()
    open_clips(root, ["savee"], settings, tmp_path, again).prepare()
    assert again.pictures == 0


def test_other_settings_or_another_film_are_decoded_anew(root, tmp_path):
    store = open_clips(root, ["savee"], ClipSettings(), tmp_path, Finder())
    other = open_clips(root, ["savee"], ClipSettings(side=64), tmp_path, Finder())
    key = store.key(0)
    assert key != other.key(0)
    film = root / "savee" / store.clips[0].video
    os.utime(film, (1, 1))
    assert store.key(0) != key


def test_clips_are_kept_in_memory_where_there_is_no_cache(root):
    finder = Finder()
    store = open_clips(root, ["savee"], FAST, None, finder)
    assert store[3].crops is store.of([3])[0].crops
    assert finder.pictures == 4


def test_a_clip_without_a_face_has_zero_frames(tmp_path):
    black = np.zeros((SIDE, SIDE, 3), np.uint8)
    write_film(tmp_path / "savee" / "DC" / "a01.avi", moved(black))
    write_sound(tmp_path / "savee" / "DC" / "a01.wav", sound_of("a", 1))
    clip = open_clips(tmp_path, ["savee"], FAST, None)[0]
    assert clip.crops.shape == (0, CROP_SIDE, CROP_SIDE, 3)
    assert clip.landmarks.shape == (0, 5, 2)
    assert len(clip.waveform) > 0


def test_of_two_people_the_larger_face_is_kept(root):
    finder = Finder((0, 0, 30, 30), (40, 40, 96, 96))
    clip = open_clips(root, ["savee"], FAST, None, finder)[0]
    assert clip.landmarks.min() > 40


def test_of_two_people_the_one_is_kept_whose_mouth_moves_with_the_sound(tmp_path):
    """Two faces of noise; the mouth of the smaller one changes while there is a tone."""
    generator = np.random.default_rng(1)
    still = generator.integers(0, 255, (SIDE, 2 * SIDE, 3)).astype(np.uint8)
    pictures, loud = [], np.repeat(np.arange(20) // 4 % 2, SOUND_HZ // RATE_HZ)
    for time in range(20):
        picture = still.copy()
        if time // 4 % 2:
            picture[40:, SIDE:] = generator.integers(0, 255, (SIDE - 40, SIDE, 3))
        pictures.append(picture)
    stem = tmp_path / "savee" / "DC" / "a01"
    write_film(stem.with_suffix(".avi"), pictures)
    tone = 8000 * loud * np.sin(np.arange(len(loud)))
    write_sound(stem.with_suffix(".wav"), tone.astype("<i2"))
    finder = Finder((0, 0, 96, 96), (100, 4, 188, 92))
    clip = open_clips(tmp_path, ["savee"], FAST, None, finder)[0]
    assert clip.landmarks[..., 0].min() > 100


def test_68_landmarks_need_a_predictor(root):
    store = open_clips(root, ["savee"], FAST, None)
    with pytest.raises(InputError, match="predictor for 68 landmarks"):
        decode_clip(
            CORPORA["savee"].archive(root), store.clips[0], ClipSettings(landmarks="dlib"), Finder()
        )


@pytest.mark.parametrize("change", [{"rate_hz": 0.0}, {"side": 0}, {"landmarks": "many"}])
def test_bad_settings_are_refused_at_birth(change):
    with pytest.raises(ValueError, match="Expected"):
        ClipSettings(**change)


# ---------------------------------------------------------------------------- every recipe


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_learns_the_corpus_and_judges_a_stranger(
    name, root, cache, encoders, tmp_path
):
    if name == "hybrid":
        pytest.importorskip("opensmile")
        pytest.importorskip("dlib")
    train_video(
        little(name), root, tmp_path / "out", cache=cache, without_speakers=[HELD_OUT],
        init=encoders if name in ("fbp-fine-tuned", "am-fbp") else None,
    )  # fmt: skip
    (tmp_path / "out").rename(tmp_path / "moved")  # it needs nothing from elsewhere
    facts = checkpoint.read(tmp_path / "moved").training
    assert facts["recipe"] == name
    store = open_clips(root, ["savee"], SETTINGS, cache)
    known = store.of([i for i, s in enumerate(store.speakers) if s in facts["speakers"]])
    assert (judge(tmp_path / "moved", known).argmax(axis=1) == known.labels).all()
    found = score_video(tmp_path / "moved", root, "savee", cache=cache)
    assert set(found.groups) == {HELD_OUT}
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-5)
    figures = score("savee", root, model=tmp_path / "moved", cache=cache)
    assert figures["wa"] == report(found)["wa"]
    assert figures["wa"]["value"] > 1 / len(CODES)
    assert (figures["recipe"], figures["speakers"]) == (name, [HELD_OUT])
    if name in ("fbp-fine-tuned", "am-fbp"):
        arrays = checkpoint.read(tmp_path / "moved").arrays
        for stream in ("frame", "voice"):  # vectors are standardised as over frozen encoders
            (key,) = (k for k in arrays if k.endswith(f"{stream}_mean"))
            assert arrays[key].any()
    if name == "hybrid":
        assert "soundnet" not in facts["weights"]  # there are no weights of it in the bundle


def test_nobody_is_in_two_parts(root, cache, tmp_path):
    out = train_video(
        little("concat", schedule=replace(SCHEDULE, epochs=1)), root, tmp_path,
        cache=cache, corpora=["savee"], without_speakers=[HELD_OUT],
    )  # fmt: skip
    facts = checkpoint.read(out).training
    parts = [facts[p] for p in ("speakers", "validation_speakers", "held_out_speakers")]
    assert [len(part) for part in parts] == [2, 1, 1]
    assert len(set().union(*parts)) == len(SPEAKERS)
    assert facts["validation"] == {"savee": "by speaker"}
    assert facts["temperature"] != 1.0
    assert facts["encoders"]["face"] == checkpoint.digest(checkpoint.bundled("face"))
    with pytest.raises(CorpusError, match="hold some out"):
        score_video(out, root, "savee", cache=cache, speakers=facts["validation_speakers"])
    with pytest.raises(InputError, match="no --baseline"):
        score("savee", root, model=out, baseline=True, cache=cache)


def test_every_face_network_given_looks_for_the_pooled_machines(root, cache, encoders, tmp_path):
    (tmp_path / "init").mkdir()
    for name, source in (("a", encoders / "face"), ("b", checkpoint.bundled("face"))):
        (tmp_path / "init" / name).symlink_to(source)
    (tmp_path / "init" / "voice").symlink_to(encoders / "voice")
    out = tmp_path / "out"
    train_video(little("pooled-svm"), root, out, cache=cache, init=tmp_path / "init")
    assert checkpoint.read(out).config["networks"] == ["a", "b"]
    facts = checkpoint.read(out).training
    assert facts["validation_speakers"] == []  # the machines need nobody kept back
    assert facts["folds"] == "by speaker"
    assert facts["encoders"]["b"] == checkpoint.digest(checkpoint.bundled("face"))


def test_the_twin_of_fbp_averages_and_has_no_attention_to_tune():
    config = RECIPES["fbp-average"].config
    assert replace(config, pooling="attention") == RECIPES["fbp"].config
    assert "config.sharpness" not in {d.place for d in space_of(RECIPES["fbp-average"])}
    frames = torch.randn(2, 5, 256, generator=torch.Generator().manual_seed(1))
    weights = AttentionFBP(config)(frames).frame_attention
    torch.testing.assert_close(weights, torch.full((2, 5), 0.2))


def knowing(encoders, folder, speakers):
    """Copy the encoders; the voice of the copy was trained on these speakers."""
    for name in ("face", "voice"):
        network = checkpoint.load(encoders / name)
        training = {"speakers": speakers} if name == "voice" else {}
        checkpoint.save(folder / name, network, network.config, training=training)
    return folder


def test_an_encoder_that_knows_who_is_held_out_is_refused(root, cache, encoders, tmp_path):
    init = knowing(encoders, tmp_path / "init", [HELD_OUT])
    trial = little("concat", schedule=replace(SCHEDULE, epochs=1))
    with pytest.raises(CorpusError, match=f"not trained on those held out.* know {HELD_OUT}"):
        train_video(
            trial, root, tmp_path / "out", cache=cache, without_speakers=[HELD_OUT], init=init
        )
    out = train_video(
        trial, root, tmp_path / "out", cache=cache, without_speakers=["savee:DC"], init=init
    )
    assert checkpoint.read(out).training["encoder_speakers"] == [HELD_OUT]
    assert set(score_video(out, root, "savee", cache=cache).groups) == {"savee:DC"}
    with pytest.raises(CorpusError, match="neither the model nor its encoders know"):
        score_video(out, root, "savee", cache=cache, speakers=[HELD_OUT])


def together(people, sessions):
    """Clips of people, two to a session."""
    return [
        Clip("x", f"{number}{emotion}", emotion, f"x:{number}", session=f"x:s{number % sessions}",
             video="v", audio="a")
        for number in range(people) for emotion in ("angry", "happy")
    ]  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_session_is_never_parted(seed, monkeypatch):
    store = ClipStore(together(8, 4), {}, ClipSettings(), None)
    recipe = replace(RECIPES["concat"], schedule=replace(SCHEDULE, seed=seed))
    found = parted(store, (), every=recipe.validation, seed=recipe.schedule.seed)
    inside, kept = ({c.session for c in part.clips} for part in (found.train, found.valid))
    assert len(kept) == 1
    assert not inside & kept
    job = video._Job(recipe, store, store, None, None, False, {})
    assert set(job.groups) == inside | kept  # the machines' folds part no session either

    class Corpus:
        title = "X"

        def clips(self, root):
            return together(8, 4)

    monkeypatch.setattr(arenas, "audiovisual_corpora", lambda root: ("x",))
    monkeypatch.setattr(arenas, "corpus_named", lambda name: Corpus())
    (arena,) = clip_arenas(None, None)
    sessions = np.array([clip.session for clip in together(8, 4)])
    for fold in arena.folds:
        assert not set(sessions[fold.train]) & set(sessions[fold.test])


def test_the_command_knows_every_recipe_of_this_file():
    assert set(RECIPES) <= set(COMMANDS)


def test_the_command_trains_by_name(root, cache, tmp_path):
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    words = f"train concat --data {root} --cache {cache} --out {tmp_path} --epochs 1 --seed 3"
    words += f" --corpora savee --without-speakers {HELD_OUT}"
    args = parser.parse_args(words.split())
    assert args.run(args) == 0
    facts = checkpoint.read(tmp_path).training
    assert (facts["recipe"], facts["seed"], facts["epochs"]) == ("concat", 3, 1)
    assert facts["held_out_speakers"] == [HELD_OUT]


@pytest.mark.parametrize("name", ["concat", "vgg-lstm-shuffled"])
def test_killed_training_resumes_to_the_same_weights(name, root, cache, tmp_path, monkeypatch):
    monkeypatch.setattr("emotion.training.loop.SAVE_EVERY_S", 0.0)
    recipe = little(name, schedule=replace(SCHEDULE, epochs=3, batch=4))
    train_video(recipe, root, tmp_path / "whole", cache=cache)
    loss, steps = VideoTask.loss, []

    def killed(task, *rest):
        steps.append(1)
        if len(steps) == 5:
            raise KeyboardInterrupt
        return loss(task, *rest)

    monkeypatch.setattr(VideoTask, "loss", killed)
    with pytest.raises(KeyboardInterrupt):
        train_video(recipe, root, tmp_path / "cut", cache=cache)
    train_video(recipe, root, tmp_path / "cut", cache=cache, resume=True)
    assert checkpoint.digest(tmp_path / "cut") == checkpoint.digest(tmp_path / "whole")


def test_a_resumed_hybrid_keeps_the_members_it_has(root, cache, encoders, tmp_path, monkeypatch):
    pytest.importorskip("opensmile")
    pytest.importorskip("dlib")
    recipe = little("hybrid", schedule=replace(SCHEDULE, epochs=1))
    train_video(recipe, root, tmp_path, cache=cache, init=encoders)
    first = checkpoint.digest(tmp_path / "vgg-lstm")
    monkeypatch.setattr(VideoTask, "loss", None)
    train_video(recipe, root, tmp_path, cache=cache, init=encoders, resume=True)
    assert checkpoint.digest(tmp_path / "vgg-lstm") == first
    weights = checkpoint.read(tmp_path).training["weights"]
    assert set(weights) == {"vgg-lstm", "inception", "landmarks", "functionals", "soundnet"}
    assert sum(weights.values()) == pytest.approx(1)


def test_no_clip_is_shown_without_both_face_and_voice():
    show = Show(3, False, 0.5, 0.4, torch.Generator().manual_seed(1))
    mask = torch.ones(200, 4, dtype=torch.bool)
    mask[:20] = False
    spoken = torch.arange(200) < 180
    seen, heard = show.without(mask, spoken)
    assert (seen.any(dim=1) | heard).all()
    assert not (seen & ~mask).any()
    assert 0.4 < (~seen[20:180].any(dim=1)).float().mean() < 0.6
    assert 0.3 < (~heard[20:180]).float().mean() < 0.5
    some = show.some(torch.arange(10))
    assert some.tolist() == sorted(some.tolist())
    assert len(some) == 3
    assert torch.equal(show.some(torch.arange(2)), torch.arange(2))


# --------------------------------------------------------------------- corpora and mistakes


@pytest.fixture
def afew(tmp_path):
    """An AFEW of six films: nobody is named, its parts stand for their people."""
    face = np.full((SIDE, SIDE, 3), 128, np.uint8)
    for part in ("Train", "Val"):
        for code, emotion in (("a", "Angry"), ("h", "Happy")):
            for take in range(1 + (part == "Train")):
                path = tmp_path / "AFEW" / part / emotion / f"00{take}00{code}.avi"
                write_film(path, moved(changed(face, code, take)), code)
    return tmp_path


def test_an_official_part_is_the_validation(afew, tmp_path):
    for name in ("concat", "pooled-svm"):
        out = train_video(
            little(name, clips=FAST, schedule=replace(SCHEDULE, epochs=1)),
            afew, tmp_path / name, cache=None, finder=Finder(),
        )  # fmt: skip
        facts = checkpoint.read(out).training
        assert (facts["speakers"], facts["validation_speakers"]) == (["afew:train"], ["afew:valid"])
        found = score_video(out, afew, "afew", cache=None, split="valid", finder=Finder())
        assert found.truth.tolist() == [0, 3]
        if name == "pooled-svm":
            assert facts["folds"] == "by clip: the corpus names no speakers"


def test_where_nobody_is_named_and_the_official_part_held_out_clips_are_kept_back(afew, tmp_path):
    trial = little("concat", clips=FAST, validation=4, schedule=replace(SCHEDULE, epochs=1))
    out = train_video(
        trial, afew, tmp_path / "out", cache=None, without_speakers=["afew:valid"], finder=Finder()
    )
    facts = checkpoint.read(out).training
    assert facts["validation"] == {"afew": "by clip: the corpus names no speakers"}
    assert facts["temperature"] != 1.0
    assert len(score_video(out, afew, "afew", cache=None, finder=Finder()).truth) == 2


def test_sound_alone_is_told(tmp_path):
    write_sound(tmp_path / "savee" / "DC" / "a01.wav", sound_of("a", 1))
    with pytest.raises(CorpusError, match="found none"):
        train_video(RECIPES["fbp"], tmp_path, tmp_path / "out", cache=None)
    with pytest.raises(CorpusError, match="got 1 with sound alone"):
        train_video(RECIPES["fbp"], tmp_path, tmp_path / "out", cache=None, corpora=["savee"])


def test_mistakes_are_told_before_anything_is_decoded(root, tmp_path):
    with pytest.raises(CorpusError, match="got savee:XX"):
        train_video(
            RECIPES["fbp"], root, tmp_path, cache=None, without_speakers=["savee:XX"],
            finder=Finder(falls_at=0),
        )  # fmt: skip
    with pytest.raises(CorpusError, match="got 0"):
        train_video(
            RECIPES["fbp"], root, tmp_path, cache=None,
            without_speakers=[f"savee:{s}" for s in SPEAKERS], finder=Finder(falls_at=0),
        )  # fmt: skip
    with pytest.raises(CorpusError, match="got 'smell'"):
        train_video(RECIPES["fbp"], root, tmp_path, cache=None, corpora=["smell"])


def test_a_folder_without_encoders_is_refused(root, tmp_path):
    """A mistyped --init must not become the bundled encoders."""
    with pytest.raises(CheckpointError, match="Expected a checkpoint or a folder of face or voice"):
        train_video(
            RECIPES["fbp"], root, tmp_path / "out", cache=None, init=tmp_path / "nothing",
            finder=Finder(falls_at=0),
        )  # fmt: skip


def test_an_encoder_of_another_kind_is_refused(root, encoders, tmp_path):
    (tmp_path / "init").mkdir()
    (tmp_path / "init" / "face").symlink_to(encoders / "voice")
    with pytest.raises(CheckpointError, match="FaceCNN or FaceEncoder"):
        train_video(
            RECIPES["fbp"], root, tmp_path / "out", cache=None, init=tmp_path / "init",
            finder=Finder(falls_at=0),
        )  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [{"frames": 0}, {"validation": 1}, {"no_face": 0.6, "no_voice": 0.6}, {"functionals": "mfcc"}],
)
def test_a_bad_recipe_is_refused_at_birth(change):
    with pytest.raises(ValueError, match="Expected"):
        replace(RECIPES["fbp"], **change)
    with pytest.raises(ValueError, match="Expected 68 landmarks"):
        replace(RECIPES["hybrid"], clips=ClipSettings())
    with pytest.raises(ValueError, match="Expected fbp or am-fbp"):
        replace(RECIPES["vgg-lstm"], fine_tune=True)


# ------------------------------------------------------------------------------ the comparison


def test_films_are_an_arena_of_the_comparison(root, cache, encoders, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "BUNDLED", encoders)
    (arena,) = clip_arenas(root, cache)
    assert arena.name == "savee-clips"
    assert len(arena.folds) == len(SPEAKERS)
    learner = VideoSystem(little("concat"))
    arena = replace(arena, folds=arena.folds[:1])
    said = run_system(arena, System("concat", "", lambda _: learner), learner, tmp_path)
    assert said.probabilities.shape == (len(CODES) * TAKES, len(EMOTIONS))
    assert said.cost.parameters > 1000
    own = tmp_path / "savee-clips" / "fold1"
    (folder,) = own.glob("VideoSystem-*")
    facts = checkpoint.read(folder).training
    assert facts["held_out_speakers"] == sorted(set(arena.people(said.tested)))


def test_a_fold_whose_strangers_the_bundled_voice_knows_trains_its_own(
    root, cache, encoders, tmp_path, monkeypatch
):
    init = knowing(encoders, tmp_path / "bundle", [f"savee:{s}" for s in SPEAKERS])
    monkeypatch.setattr(checkpoint, "BUNDLED", init)
    (arena,) = clip_arenas(root, cache)
    arena = replace(arena, folds=arena.folds[:1])
    once = replace(SCHEDULE, epochs=1)
    voice = VoiceRecipe(LITTLE_VOICE, once)
    for name in ("concat", "fbp"):
        learner = VideoSystem(little(name, schedule=once), voice)
        run_system(arena, System(name, "", lambda _: None), learner, tmp_path / "out")
    tested = set(arena.people(arena.folds[0].test))
    fold = tmp_path / "out" / "savee-clips" / "fold1"
    (own,) = fold.glob("VoiceRecipe-*/voice")  # one for both
    assert not tested & set(checkpoint.read(own).training["speakers"])
    for system in fold.glob("VideoSystem-*"):
        facts = checkpoint.read(system).training
        assert not tested & set(facts["encoder_speakers"])
        assert facts["encoders"]["voice"] == checkpoint.digest(own)
