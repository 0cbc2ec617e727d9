"""EmotionPrefix: virtual tokens in a row, the model they belong to, and how they are trained."""

import json
from dataclasses import replace

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from dialogue.affect import FEELINGS, UserAffect
from dialogue.conditioning import condition, short_note
from dialogue.conversation import Message
from dialogue.data import Talk
from dialogue.errors import InputError, ModelError
from dialogue.learning import learn
from dialogue.models.local import Decoding
from dialogue.models.prefixed import PrefixedModel
from dialogue.prefix import (
    FEATURES,
    EmotionPrefix,
    PrefixShape,
    features_of,
    fingerprint,
    turn_starts,
    weave,
)
from dialogue.prefix_training import (
    ARMS,
    CIRCUMPLEX,
    Exercise,
    PrefixRecipe,
    PrefixRun,
    _told,
    alike,
    digest,
    draw_affect,
    exercise,
    felt_messages,
    loss_behind,
    suppose,
)
from dialogue.training import build_model

SAD = UserAffect(
    "sad", confidence=0.7, valence=-0.5, arousal=-0.2, probabilities={"sad": 0.7, "angry": 0.3}
)
TALK = [
    Message("user", "I lost my keys.", SAD),
    Message("assistant", "Oh no!"),
    Message("user", "They are gone."),
    Message("assistant", "Did you look?"),
]
GLAD, SORRY = "How wonderful! Tell me.", "I am so sorry about it."
GENERATOR = torch.Generator().manual_seed(9)
# A toy task: the same words of the teller, answered by what only the affect tells.
TOY = [
    Talk(str(n), ((False, "It happened."), (True, answer)), (feeling, "very"), 2)
    for n, (feeling, answer) in enumerate([("happy", GLAD), ("sad", SORRY)] * 8)
]
RECIPE = PrefixRecipe(
    tokens=3, hidden=16, batch_rows=8, steps=30, rate=0.02, warm_up_steps=2, silent_share=0.0,
    taught_by="talks",
)  # fmt: skip


@pytest.fixture
def tokenizer(corpus):
    return corpus.prepared.tokenizer


@pytest.fixture
def model(corpus):
    roomy = replace(corpus.recipe.shape, positions=1024)
    return build_model(roomy, corpus.prepared.tokenizer, seed=1).eval()


@pytest.fixture
def prefix():
    return EmotionPrefix(PrefixShape(32, 3, 8), 0.02, torch.Generator().manual_seed(0))


def run_of(model, tokenizer, folder, recipe=RECIPE):
    return PrefixRun(model, tokenizer, TOY, TOY[:4], recipe, folder)


def written(tokenizer, messages):
    talk = [message.to_dict() for message in messages]
    return tokenizer.apply_chat_template(talk, return_dict=True, return_tensors="pt")["input_ids"]


def test_features_are_probabilities_valence_arousal_and_confidence():
    assert (*FEELINGS, "valence", "arousal", "confidence") == FEATURES
    assert features_of(SAD) == [0.3, 0, 0, 0, 0, 0.7, 0, -0.5, -0.2, 0.7]


def test_an_unclear_affect_without_probabilities_is_even():
    assert features_of(UserAffect(None))[:7] == pytest.approx([1 / 7] * 7)


@pytest.mark.parametrize("tokens", [2, 3, 4, 12])
def test_virtual_ids_hold_their_affect(tokens):
    prefix = EmotionPrefix(PrefixShape(8, tokens, 4), 1.0, torch.Generator().manual_seed(1))
    words = torch.nn.Embedding(20, 8)
    ids = weave(torch.arange(5), [1, 3], [SAD, UserAffect(None)], tokens)
    embedded = prefix.embed(words, ids[None])[0]
    assert ids.shape == (5 + 2 * tokens,)
    expected = prefix(torch.tensor([features_of(SAD), features_of(UserAffect(None))]))
    assert torch.allclose(embedded[1 : 1 + tokens], expected[0], atol=2e-3)
    assert torch.allclose(embedded[3 + tokens : 3 + 2 * tokens], expected[1], atol=2e-3)
    assert torch.equal(embedded[0], words.weight[0])
    assert torch.equal(embedded[-2:], words.weight[3:5])


def test_a_row_that_lost_its_beginning_keeps_its_whole_turns(prefix):
    words = torch.nn.Embedding(20, 32)
    ids = weave(torch.arange(4), [0, 2], [SAD, UserAffect("happy")], 3)
    cut = prefix.embed(words, ids[None, 1:])[0]
    assert torch.equal(cut[:2], torch.zeros(2, 32))
    assert torch.allclose(cut[2:], prefix.embed(words, ids[None])[0, 3:], atol=1e-5)


def test_turns_without_an_affect_stay_as_they_are(tokenizer):
    ids = written(tokenizer, TALK)[0]
    assert torch.equal(weave(ids, [1, 5], [None, None], 3), ids)


def test_virtual_tokens_stand_in_front_of_their_turn(tokenizer):
    ids = written(tokenizer, TALK)[0]
    starts = turn_starts(tokenizer, TALK, ids)
    user = tokenizer.convert_tokens_to_ids("<|user|>")
    assert [ids[start].item() for start in starts] == [user, user]


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}",
        "{{ bos_token }}{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{{ eos_token }}"
        "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}",
    ],
)
def test_any_template_has_turns(tokenizer, template):
    tokenizer = type(tokenizer)(
        tokenizer_object=tokenizer._tokenizer,
        bos_token="<|start|>",
        eos_token="<|end|>",
        chat_template=template,
    )
    learnt = exercise(tokenizer, TALK, 3)
    answer = tokenizer.decode(learnt.ids[learnt.learned])
    assert "Oh no!" in answer
    assert "Did you look?" in answer
    assert "keys" not in answer
    starts = turn_starts(tokenizer, TALK, written(tokenizer, TALK)[0])
    assert tokenizer.decode(written(tokenizer, TALK)[0][starts[1] :]).lstrip("<").startswith("user")


def test_only_what_is_answered_is_learnt(tokenizer):
    learnt = exercise(tokenizer, TALK, 3)
    assert (learnt.ids < 0).sum() == 3
    assert tokenizer.decode(learnt.ids[learnt.learned]) == "Oh no!<|end|>Did you look?<|end|>"


def test_the_loss_without_a_prefix_is_the_models_own(model, tokenizer):
    row = exercise(tokenizer, TALK, 0)
    labels = row.ids.masked_fill(~row.learned, -100)
    with torch.no_grad():
        own = model(row.ids[None], labels=labels[None]).loss
        assert loss_behind(None, model, [row]).item() == pytest.approx(own.item(), abs=1e-5)


def test_rows_in_a_batch_do_not_mix(model, tokenizer, prefix):
    short = exercise(tokenizer, TALK[:2], 3)
    long = exercise(tokenizer, TALK, 3)
    with torch.no_grad():
        alone = [loss_behind(prefix, model, [row]).item() for row in (short, long)]
        both = loss_behind(prefix, model, [short, long]).item()
    weights = [int(row.learned.sum()) for row in (short, long)]
    mean = sum(a * w for a, w in zip(alone, weights, strict=True)) / sum(weights)
    assert both == pytest.approx(mean, abs=1e-5)


def made_to_know(model, rows):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(40):
        loss_behind(None, model, rows).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


@pytest.fixture
def taught(model, tokenizer):
    """A model that knows both answers, and cannot know which of them is right."""
    rows = [exercise(tokenizer, felt_messages(talk, 1.0, GENERATOR), 0) for talk in TOY[:2]]
    return made_to_know(model, rows)


@pytest.fixture
def noted(model, tokenizer):
    """A model that knows from the note which answer is right."""
    talks = [felt_messages(talk, 0.0, GENERATOR, _told) for talk in TOY[:2]]
    rows = [exercise(tokenizer, condition(talk, write=short_note), 0) for talk in talks]
    return made_to_know(model, rows)


@pytest.mark.parametrize(("knowing", "by"), [("taught", "talks"), ("noted", "note")])
def test_a_frozen_model_learns_a_toy_task_by_its_prefix_alone(
    request, tokenizer, tmp_path, knowing, by
):
    frozen = request.getfixturevalue(knowing)
    before = {name: weight.clone() for name, weight in frozen.state_dict().items()}
    recipe = replace(RECIPE, steps=40, batch_rows=4, taught_by=by)
    run = run_of(frozen, tokenizer, tmp_path, recipe)
    first = run.validation_loss()
    learn(run, validate_every=1000)
    assert run.validation_loss() < 0.9 * first
    assert all(torch.equal(weight, before[name]) for name, weight in frozen.state_dict().items())
    happy = UserAffect("happy", confidence=0.9, valence=0.7, arousal=0.5)
    sad = UserAffect("sad", confidence=0.9, valence=-0.6, arousal=-0.3)

    def loss(affect, answer):
        talk = [Message("user", "It happened.", affect), Message("assistant", answer)]
        with torch.no_grad():
            return loss_behind(run.prefix, frozen, [exercise(tokenizer, talk, 3)]).item()

    assert loss(happy, GLAD) < loss(sad, GLAD)
    assert loss(sad, SORRY) < loss(happy, SORRY)


def test_a_model_that_learns_is_taught_by_itself_as_it_was(noted, tokenizer, tmp_path):
    before = {name: weight.clone() for name, weight in noted.state_dict().items()}
    recipe = replace(RECIPE, together=True, taught_by="note", arms=tuple(ARMS), steps=4)
    run = run_of(noted, tokenizer, tmp_path, recipe)
    at_first = float(run._lesson([run._row(index) for index in range(8)]).detach())
    learn(run)
    assert all(torch.equal(w, before[name]) for name, w in run.teacher.state_dict().items())
    assert at_first > 0
    for arm in ("none", "note"):  # is as it is taught, before anything is learnt
        fresh = run_of(run.teacher, tokenizer, tmp_path, replace(recipe, arms=(arm,)))
        assert float(fresh._lesson([fresh._row(0)]).detach()) == pytest.approx(0, abs=1e-3)


def test_an_affect_is_supposed_to_be_each_feeling_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    drawn = [suppose(SAD, generator) for _ in range(2000)]
    assert sum(a.label == "sad" for a in drawn) / 2000 == pytest.approx(0.7, abs=0.03)
    assert sum(a.label == "angry" for a in drawn) / 2000 == pytest.approx(0.3, abs=0.03)
    told = UserAffect("happy", confidence=0.9)
    assert suppose(told, generator) is told
    assert suppose(None, generator) is None


def test_two_ways_to_write_a_talk_are_marked_alike(tokenizer):
    whole, cut = exercise(tokenizer, TALK, 3), exercise(tokenizer, TALK, 0)
    cut = Exercise(cut.ids[-12:], cut.learned[-12:])
    first, second = alike(whole, cut)
    assert torch.equal(first.ids[first.learned], second.ids[second.learned])
    assert second.learned[1:].sum() == cut.learned[1:].sum() < whole.learned.sum()


def test_together_the_model_learns_as_well(model, tokenizer, tmp_path):
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    run = run_of(model, tokenizer, tmp_path, replace(RECIPE, together=True, steps=2))
    learn(run)
    changed = [name for name, p in model.named_parameters() if not torch.equal(p, before[name])]
    assert len(changed) > len(before) / 2


@pytest.mark.parametrize("together", [False, True])
def test_killed_and_resumed_equals_uninterrupted(corpus, tokenizer, tmp_path, together):
    recipe = replace(RECIPE, steps=6, together=together)

    def fresh(folder):
        model = build_model(corpus.recipe.shape, tokenizer, seed=1)
        return run_of(model, tokenizer, tmp_path / folder, recipe)

    straight = fresh("straight")
    learn(straight)
    learn(fresh("killed"), until_step=3)
    resumed = fresh("killed")
    assert resumed.resume()
    assert resumed.step == 3
    learn(resumed)
    for kind in ("prefix", "model"):
        pairs = zip(
            getattr(straight, kind).parameters(), getattr(resumed, kind).parameters(), strict=True
        )
        assert all(torch.equal(a, b) for a, b in pairs)


def test_another_models_run_is_refused(corpus, tokenizer, model, tmp_path):
    run_of(model, tokenizer, tmp_path).save()
    other = build_model(corpus.recipe.shape, tokenizer, seed=2)
    with pytest.raises(InputError, match="Expected a run of this recipe and model"):
        run_of(other, tokenizer, tmp_path).resume()


def test_nothing_to_resume_is_said(model, tokenizer, tmp_path):
    assert not run_of(model, tokenizer, tmp_path).resume()


def test_talks_without_a_feeling_teach_nothing(model, tokenizer, tmp_path):
    with pytest.raises(InputError, match="Expected talks with a feeling, got 1 without"):
        PrefixRun(model, tokenizer, [replace(TOY[0], feeling=None)], [], RECIPE, tmp_path)


def test_a_talk_tells_what_was_annotated_or_heard_or_drawn(model, tokenizer, tmp_path):
    heard = {digest("It happened!"): [0.1, 0, 0, 0, 0, 0.9, 0]}
    plain = replace(TOY[0], feeling=None)

    def told(talk, **shares):
        recipe = replace(RECIPE, **{"told_share": 0.0, "heard_share": 0.0, **shares})
        run = PrefixRun(model, tokenizer, [talk], [], recipe, tmp_path, heard)
        report = run._report(talk, 0.5)
        return felt_messages(talk, 0.0, torch.Generator().manual_seed(0), report)[0].affect

    assert told(TOY[0], told_share=1.0) == UserAffect("happy", confidence=0.9)
    assert told(TOY[0], heard_share=1.0).label == "sad"
    assert told(plain).channels == ("words",)
    assert told(TOY[0]).channels == ("face", "voice")


def test_words_that_were_not_heard_tell_nothing(model, tokenizer, tmp_path):
    plain = replace(TOY[0], feeling=None)
    run = PrefixRun(model, tokenizer, [plain], [], RECIPE, tmp_path, {digest("Else."): [1 / 7] * 7})
    assert (run._row(0)[0].ids < 0).sum() == 0


def test_each_arm_tells_an_affect_its_own_way(model, tokenizer, tmp_path):
    run = run_of(model, tokenizer, tmp_path)
    messages = run._messages(TOY[0], 0.0, torch.Generator().manual_seed(0))
    rows = {arm: run._written(messages, arm) for arm in ARMS}
    for arm, (noted, prefixed) in ARMS.items():
        assert ("[" in tokenizer.decode(rows[arm].ids.clamp(min=0))) == noted
        assert (rows[arm].ids < 0).sum() == 3 * prefixed
        assert rows[arm].learned.sum() == rows["none"].learned.sum()


def test_a_pass_takes_every_talk_once(model, tokenizer, tmp_path):
    run = run_of(model, tokenizer, tmp_path)
    seen = []
    for run.step in range(2):
        seen += run._batch()
    assert sorted(seen) == list(range(len(TOY)))


def test_a_long_talk_is_cut_between_turns(model, tokenizer, tmp_path):
    told = (False, "It happened again and again."), (True, "Oh no.")
    long = Talk("1", told * 40, None, 2, (("sad", "very"), None) * 40)
    run = PrefixRun(model, tokenizer, [long], [], RECIPE, tmp_path)
    assert len(run.talks) > 1
    assert sum(len(talk.turns) for talk in run.talks) == 80
    assert all(len(talk.shown) == len(talk.turns) for talk in run.talks)


def test_a_point_of_the_curve_has_every_arm(model, tokenizer, tmp_path):
    recipe = replace(RECIPE, arms=("none", "both"), together=True, steps=1)
    run = run_of(model, tokenizer, tmp_path, recipe)
    learn(run)
    point = run.curve[0]
    assert point["valid_loss"] == pytest.approx(
        (point["valid_none"] + point["valid_both"]) / 2, abs=1e-3
    )


def test_a_prefix_is_saved_beside_the_fingerprint_of_its_model(model, prefix, tmp_path):
    prefix.save(tmp_path, model)
    facts = json.loads((tmp_path / "prefix.json").read_text())
    assert facts["fingerprint"] == fingerprint(model)
    again = EmotionPrefix.load(tmp_path, model)
    features = torch.tensor([features_of(SAD)])
    assert torch.equal(again(features), prefix(features))


def test_a_model_without_a_trained_prefix_is_refused_one(model, tmp_path):
    with pytest.raises(ModelError, match=r"Expected a trained prefix in .*, got none"):
        EmotionPrefix.load(tmp_path, model)


def test_another_models_prefix_is_refused(model, prefix, corpus, tmp_path):
    prefix.save(tmp_path, model)
    other = build_model(corpus.recipe.shape, corpus.prepared.tokenizer, seed=2)
    with pytest.raises(ModelError, match=r"Expected the prefix in .* with its own model"):
        EmotionPrefix.load(tmp_path, other)


def test_a_damaged_prefix_is_refused(model, prefix, tmp_path):
    prefix.save(tmp_path, model)
    (tmp_path / "prefix.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(ModelError, match="Expected a whole prefix in"):
        EmotionPrefix.load(tmp_path, model)


def test_a_fingerprint_changes_with_a_weight_and_not_with_the_kind_of_numbers(model):
    first = fingerprint(model)
    assert fingerprint(model.half().float()) != ""
    half = fingerprint(model.half())
    assert fingerprint(model.float()) == half
    with torch.no_grad():
        model.model.norm.weight.mul_(1.5)
    assert fingerprint(model) not in (first, half)


def test_any_causal_model_takes_a_prefix(tokenizer, tmp_path):
    config = GPT2Config(vocab_size=400, n_positions=128, n_embd=16, n_layer=1, n_head=2)
    other = GPT2LMHeadModel(config).eval()
    run = run_of(other, tokenizer, tmp_path, replace(RECIPE, steps=2))
    learn(run)
    run.export(tmp_path / "out")
    assert EmotionPrefix.load(tmp_path / "out", other).shape.width == 16


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tokens": 1}, "at least 2 virtual tokens, got 1"),
        ({"hidden": 0}, "widths from 1 on, got 32 and 0"),
    ],
)
def test_shapes_are_checked_at_birth(wrong, message):
    with pytest.raises(InputError, match=message):
        PrefixShape(32, **wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "Expected rows, steps and tokens"),
        ({"silent_share": 2.0}, "Expected shares"),
        ({"arms": ("all",)}, "Expected arms out of none"),
        ({"taught_by": "chance"}, "taught by talks or note, got 'chance'"),
    ],
)
def test_recipes_are_checked_at_birth(wrong, message):
    with pytest.raises(InputError, match=message):
        PrefixRecipe(**wrong)


def test_drawn_affects_are_calibrated():
    generator = torch.Generator().manual_seed(3)
    drawn = [draw_affect("sad", "clearly", generator) for _ in range(3000)]
    right = sum(max(a.probabilities, key=a.probabilities.get) == "sad" for a in drawn) / 3000
    assert right == pytest.approx(sum(a.confidence for a in drawn) / 3000, abs=0.04)
    assert all(sum(a.probabilities.values()) == pytest.approx(1.0) for a in drawn)


def test_the_circumplex_is_the_recognisers():
    from emotion.labels import CIRCUMPLEX as RECOGNISERS

    assert list(CIRCUMPLEX.values()) == list(RECOGNISERS.values())


def local(model, tokenizer, prefix, **more):
    return PrefixedModel(model, tokenizer, prefix, Decoding(temperature=0.0, most_tokens=8, **more))


def test_a_prefixed_model_is_surprised_by_answers_as_it_gives_them(taught, tokenizer, prefix):
    speaker = local(taught, tokenizer, prefix)
    plain, sad = ([Message("user", "I lost my keys.", affect)] for affect in (None, SAD))
    assert speaker.surprise(sad, "Oh no!") != speaker.surprise(plain, "Oh no!")
    assert speaker.reply_batch([sad, plain]) == [speaker.reply(sad), speaker.reply(plain)]
    assert len(speaker.facts()["prefix_sha256"]) == 64


def test_an_answer_behind_a_prefix_streams_and_is_the_models_likeliest(taught, tokenizer, prefix):
    """Against one pass a token over the whole talk, without any cache."""
    speaker = local(taught, tokenizer, prefix)
    fitted = speaker._fit([Message("user", "I lost my keys.", SAD)], None)
    ids = speaker._encode(fitted.messages)
    assert (ids < 0).sum() == 3
    expected: list[int] = []
    with torch.no_grad():
        embedded = prefix.embed(taught.get_input_embeddings(), ids)
        while len(expected) < 8 and tokenizer.eos_token_id not in expected:
            token = taught(inputs_embeds=embedded).logits[0, -1].argmax()
            expected.append(token.item())
            embedded = torch.cat([embedded, taught.get_input_embeddings()(token)[None, None]], 1)
    pieces = list(speaker.stream([Message("user", "I lost my keys.", SAD)]))
    assert len(pieces) > 1
    assert "".join(pieces) == tokenizer.decode(expected, skip_special_tokens=True).lstrip()


def test_what_was_read_of_a_talk_is_read_once_with_its_virtual_tokens(model, tokenizer, prefix):
    lengths = []
    talk = [Message("user", "I lost my keys.", SAD)]
    cached, fresh = local(model, tokenizer, prefix), local(model, tokenizer, prefix, cached_talks=0)
    for words in ("They are gone.", "All of them."):
        answer = cached.reply(talk)
        assert answer == fresh.reply(talk)
        talk += [Message("assistant", answer or "Oh."), Message("user", words, SAD)]
    hook = model.register_forward_pre_hook(
        lambda _, args, kwargs: lengths.append(
            kwargs["inputs_embeds"].shape[1]
            if kwargs.get("inputs_embeds") is not None
            else kwargs["input_ids"].shape[1]
        ),
        with_kwargs=True,
    )
    cached.reply(talk)
    hook.remove()
    whole = cached._encode(cached._fit(talk, None).messages).shape[1]
    assert lengths[0] < whole / 2


def test_another_feeling_is_another_prompt(model, tokenizer, prefix):
    speaker = local(model, tokenizer, prefix)
    rows = [
        speaker._encode([Message("user", "Hello.", affect)])
        for affect in (SAD, UserAffect("happy"), None)
    ]
    assert [row.shape[1] for row in rows] == [rows[2].shape[1] + 3] * 2 + [rows[2].shape[1]]
    assert not torch.equal(rows[0], rows[1])


def test_a_bundled_model_answers_behind_its_prefix(bundled, generator):
    speaker, talk = bundled, [Message("user", "I lost my keys.", SAD)]
    woven, plain = speaker.encode(talk), speaker.encode([replace(talk[0], affect=None)])
    assert torch.equal(woven[woven >= 0], plain[0])
    drawn = speaker.draw(woven, generator)[0]
    whole = torch.cat([woven, torch.tensor([drawn.ids])], 1)
    with torch.inference_mode():
        logits = bundled._model(inputs_embeds=speaker._embedded(whole)).logits[0].log_softmax(-1)
    start = woven.shape[1] - 1
    terms = [logits[start + i, token].item() for i, token in enumerate(drawn.ids)]
    assert drawn.likelihood == pytest.approx(sum(terms) / len(terms), abs=1e-4)
    assert speaker.reply(talk)
