"""Keys and values kept between turns: the same answers, and only what is new is read."""

import copy
import itertools
import threading
from dataclasses import replace

import pytest
import torch
from transformers import (
    DynamicCache,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from dialogue.affect import UserAffect
from dialogue.conditioning import full_note
from dialogue.conversation import Conversation
from dialogue.models.base import forget
from dialogue.models.cache import TalkCache, TalkCaches, common_prefix
from dialogue.models.local import Decoding, LocalModel
from dialogue.safeguards import Guarded

WIDTHS = {
    "vocab_size": 400,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "max_position_embeddings": 4096,
}
HEADS = {"intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}
GREEDY = Decoding(temperature=0.0, most_tokens=6)
FRESH = Decoding(temperature=0.0, most_tokens=6, cached_talks=0)
LINES = ("my dog ran away", "he came back", "i am so glad", "what a day", "thank you")
SAD = UserAffect("sad", confidence=0.9, channels=("face",))


def llama():
    return LlamaForCausalLM(LlamaConfig(**WIDTHS, **HEADS))


def sliding():
    return MistralForCausalLM(MistralConfig(**WIDTHS, **HEADS, sliding_window=48))


def recurrent():
    del (config := dict(WIDTHS))["max_position_embeddings"]
    return MambaForCausalLM(MambaConfig(**config, state_size=4, use_mambapy=False))


def random_model(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make().eval()


@pytest.fixture
def tokenizer(corpus):
    return copy.deepcopy(corpus.prepared.tokenizer)


@pytest.fixture
def model():
    return random_model(llama)


@pytest.fixture
def read(model):
    """How many tokens each pass read."""
    passes = []
    model.register_forward_pre_hook(
        lambda _, __, named: passes.append(named["input_ids"].shape[1]), with_kwargs=True
    )
    return passes


def turns(answer=None):
    """A talk as it grows: each time with one more turn."""
    talk = Conversation()
    for number, line in enumerate(LINES):
        talk.said("user", line, SAD if number % 2 else None)
        reply = yield list(talk.messages)
        talk.said("assistant", (answer or reply or "").strip() or "well")


def hold(model, answer=None):
    """Hold the whole talk; returns the replies."""
    growing = turns(answer)
    messages, replies = next(growing), []
    while True:
        replies.append(model.reply(messages))
        try:
            messages = growing.send(replies[-1])
        except StopIteration:
            return replies


@pytest.mark.parametrize("make", [llama, sliding, recurrent])
def test_a_kept_cache_changes_no_answer(make, tokenizer):
    model = random_model(make)
    assert hold(LocalModel(model, tokenizer, GREEDY)) == hold(LocalModel(model, tokenizer, FRESH))


def test_each_turn_reads_only_what_is_new(model, read, tokenizer):
    firsts = {True: [], False: []}
    for kept, how in ((True, GREEDY), (False, FRESH)):
        answering = LocalModel(model, tokenizer, how)
        for messages in turns("I see. How was that for you?"):
            read.clear()
            answering.reply(messages)
            firsts[kept].append(read[0])
    longer = [after - before for before, after in itertools.pairwise(firsts[False])]
    # What the talk has grown by, and the few tokens that open an answer.
    assert all(0 <= new - grown < 8 for new, grown in zip(firsts[True][1:], longer, strict=True))


def test_a_turn_answered_again_after_a_correction_reads_that_turn_alone(model, read, tokenizer):
    answering = LocalModel(model, tokenizer, GREEDY)
    *_, messages = turns("I see. How was that for you?")
    answering.reply(messages, affect=SAD)
    whole, note = read[0], len(tokenizer(full_note(SAD))["input_ids"])
    read.clear()
    answering.reply(messages, affect=replace(SAD, label="angry"))
    assert read[0] < note + 30 < whole / 2


def test_a_cancelled_answer_keeps_what_was_read(model, read, tokenizer):
    answering = LocalModel(model, tokenizer, Decoding(temperature=0.0, most_tokens=50))
    *_, messages = turns("I see.")
    cancel = threading.Event()
    handle = model.register_forward_hook(lambda *_: cancel.set())
    list(answering.stream(messages, cancel=cancel))
    handle.remove()
    whole = read[0]
    read.clear()
    answering.reply(messages)
    assert read[0] == 1 < whole


def test_talks_held_in_turn_do_not_mix(model, tokenizer):
    shared = LocalModel(model, tokenizer, GREEDY)
    expected = hold(LocalModel(model, tokenizer, FRESH))
    held = []
    threads = [threading.Thread(target=lambda: held.append(hold(shared))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert held == [expected, expected]


def test_a_talk_that_was_forgotten_is_read_anew(model, read, tokenizer):
    answering = LocalModel(model, tokenizer, GREEDY)
    *_, messages = turns("I see.")
    answering.reply(messages)
    forget(Guarded(answering))
    assert len(answering._talks) == 0
    read_first = read[0]
    read.clear()
    answering.reply(messages)
    assert read[0] == read_first


def test_a_model_that_keeps_nothing_forgets_without_complaint(tokenizer):
    forget(LocalModel(random_model(llama), tokenizer, FRESH))
    forget(object())


def test_a_model_that_fails_leaves_no_cache_behind(model, tokenizer):
    answering = LocalModel(model, tokenizer, GREEDY)
    *_, messages = turns("I see.")
    answering.reply(messages)

    def fail(*_):
        raise RuntimeError("out of memory")

    handle = model.register_forward_pre_hook(fail)
    with pytest.raises(Exception, match="out of memory"):
        answering.reply(messages)
    handle.remove()
    assert len(answering._talks) == 0
    assert answering.reply(messages) == LocalModel(model, tokenizer, FRESH).reply(messages)


# -- the caches themselves ------------------------------------------------------------------------


def row(*tokens):
    return torch.tensor(tokens)


@pytest.fixture
def caches(model):
    return TalkCaches(lambda: DynamicCache(config=model.config), most=2)


def filled(caches, model, tokens):
    cache = caches.take(tokens)
    if len(tokens) > len(cache.tokens):
        with torch.inference_mode():
            model(tokens[None, len(cache.tokens) :], past_key_values=cache.layers)
    cache.tokens = tokens
    caches.give(cache)
    return cache


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [((), (), 0), ((1,), (2,), 0), ((1, 2, 3), (1, 2), 2), ((1, 2, 3, 9), (1, 2, 4, 9), 2)],
)
def test_a_prefix_ends_at_the_first_difference(first, second, shared):
    assert common_prefix(row(*first).long(), row(*second).long()) == shared


def test_the_longest_beginning_is_taken_and_cropped(caches, model):
    filled(caches, model, row(1, 2, 3, 4))
    filled(caches, model, row(5, 6, 7, 8))
    cache = caches.take(row(5, 6, 7, 9, 10))
    assert cache.tokens.tolist() == [5, 6, 7]
    assert cache.layers.get_seq_length() == 3
    assert len(caches) == 1


def test_one_token_at_least_is_read(caches, model):
    filled(caches, model, row(1, 2, 3, 4))
    assert caches.take(row(1, 2, 3, 4)).tokens.tolist() == [1, 2, 3]


def test_what_two_talks_begin_with_alike_is_taken_from_neither(caches, model):
    filled(caches, model, row(1, 2, 3, 4, 5, 6))
    assert len(caches.take(row(1, 2, 9, 9, 9)).tokens) == 0
    assert len(caches) == 1


def test_a_cache_in_use_is_nobody_elses(caches, model):
    filled(caches, model, row(1, 2, 3, 4))
    assert len(caches.take(row(1, 2, 3, 4, 5)).tokens) == 4
    assert len(caches.take(row(1, 2, 3, 4, 5)).tokens) == 0


def test_the_least_recently_answered_talk_is_dropped(caches, model):
    for first in (1, 2):
        filled(caches, model, row(first, 7, 7, 7))
    filled(caches, model, row(1, 7, 7, 7, 8))  # the first talk goes on
    filled(caches, model, row(3, 7, 7, 7))
    known = [len(caches.take(row(first, 7, 7, 7, 9)).tokens) for first in (1, 2, 3)]
    assert known == [4, 0, 4]


def test_what_is_forgotten_while_it_is_read_is_not_kept(caches, model):
    filled(caches, model, row(9, 8, 7))
    cache = caches.take(row(1, 2, 3))
    caches.forget()
    caches.give(cache)
    assert len(caches) == 0
    filled(caches, model, row(1, 2, 3))
    assert len(caches) == 1


def test_a_sliding_window_is_never_cropped_to_what_it_forgot(tokenizer):
    model = random_model(sliding)
    caches = TalkCaches(lambda: DynamicCache(config=model.config), most=2)
    tokens = torch.arange(5, 205)
    filled(caches, model, tokens)
    cache = caches.take(torch.cat([tokens[:150], row(1, 2)]))
    assert (len(cache.tokens), cache.floor) == (150, 150)
    caches.give(cache)
    assert len(caches.take(torch.cat([tokens[:120], row(1, 2)])).tokens) == 0


def test_words_never_show_in_a_repr():
    assert "77" not in repr(TalkCache(None, row(77)))
