"""The training run: it learns, and a kill costs nothing."""

import math
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from dialogue.errors import InputError
from dialogue.learning import learn
from dialogue.training import ModelShape, Run, build_model, export, loss_of, prepare, rate_at


def test_a_small_batch_is_learnt_by_heart(corpus, tmp_path):
    run = Run(corpus.prepared, replace(corpus.recipe, other_rate=0.01), tmp_path)
    first = run.advance()
    for _ in range(80):
        run.step = run.decay_from  # the same batch over and over, at the full rate
        last = run.advance()
    assert first > 5.0
    assert last < 0.2


def test_stopped_and_resumed_equals_uninterrupted(corpus, tmp_path):
    straight = Run(corpus.prepared, corpus.recipe, tmp_path / "straight")
    learn(straight)
    stopped = Run(corpus.prepared, corpus.recipe, tmp_path / "stopped")
    learn(stopped, until_step=3)
    resumed = Run(corpus.prepared, corpus.recipe, tmp_path / "stopped")
    assert resumed.resume()
    assert resumed.step == 3
    learn(resumed)
    pairs = zip(straight.model.parameters(), resumed.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert [p["valid_loss"] for p in straight.curve] == [p["valid_loss"] for p in resumed.curve]


def test_nothing_to_resume_is_said(corpus, tmp_path):
    assert not Run(corpus.prepared, corpus.recipe, tmp_path).resume()


def test_another_recipes_checkpoint_is_refused(corpus, tmp_path):
    Run(corpus.prepared, corpus.recipe, tmp_path).save()
    other = Run(corpus.prepared, replace(corpus.recipe, matrix_rate=0.01), tmp_path)
    with pytest.raises(InputError, match="Expected a run of this recipe"):
        other.resume()


def test_every_parameter_learns(corpus, tmp_path):
    run = Run(corpus.prepared, corpus.recipe, tmp_path)
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    run.advance()
    assert [n for n, p in run.model.named_parameters() if torch.equal(p, before[n])] == []


def test_the_loss_is_the_mean_cross_entropy_of_the_marked_tokens(corpus):
    model = build_model(corpus.recipe.shape, corpus.prepared.tokenizer, seed=1)
    tokens = torch.randint(5, 400, (3, 12), generator=torch.Generator().manual_seed(0))
    learned = torch.zeros(3, 12, dtype=torch.bool)
    learned[0, 4], learned[2, 11], learned[1, 0] = True, True, True
    # The textbook form, position by position, in float64; a row's first token has no context.
    logits = model(tokens).logits.double().log_softmax(-1)
    expected = -(logits[0, 3, tokens[0, 4]] + logits[2, 10, tokens[2, 11]]) / 2
    assert loss_of(model, tokens, learned).item() == pytest.approx(expected.item(), abs=1e-5)


def test_an_untrained_model_knows_nothing(corpus, tmp_path):
    loss = Run(corpus.prepared, corpus.recipe, tmp_path).validation_loss()
    assert loss == pytest.approx(math.log(400), rel=0.1)


def test_the_rate_warms_up_stays_and_falls():
    rates = [rate_at(step, 100, 60, 10) for step in range(101)]
    assert rates[9:60] == [1.0] * 51
    assert rates[0] == pytest.approx(0.1)
    assert rates[80] == pytest.approx(0.5)
    assert rates[100] == 0.0


def test_the_cache_is_used_again(corpus):
    again = prepare(corpus.root / "nowhere", corpus.cache, corpus.recipe, corpus.sources)
    assert (again.general.tokens == corpus.prepared.general.tokens).all()


def test_fewer_general_rows_leave_the_listening_ones(corpus, tmp_path):
    run = Run(corpus.prepared, replace(corpus.recipe, general_rows=2), tmp_path)
    assert len(run.rows) == 2 + len(corpus.prepared.listening)
    assert run.decay_from == 1


def test_the_export_is_read_by_transformers(corpus, tmp_path):
    run = Run(corpus.prepared, corpus.recipe, tmp_path / "run")
    export(run, tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float16)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    trained = run.model.state_dict()["model.embed_tokens.weight"].half()
    assert torch.equal(model.model.embed_tokens.weight, trained)
    assert tokenizer.chat_template == corpus.prepared.tokenizer.chat_template


def test_a_shape_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match="Expected heads that divide 30, got 4"):
        ModelShape(width=30, heads=4)
