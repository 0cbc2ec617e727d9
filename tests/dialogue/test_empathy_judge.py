"""The judge, also behind a small real server."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from dialogue.empathy.arms import Contrast
from dialogue.empathy.journal import Journal
from dialogue.empathy.judge import Judge, Judgement, agreement, judged_contrasts, load_judge
from dialogue.errors import InputError, ModelError


class LikesLong:
    """Prefers the longer reply, or always the first."""

    def __init__(self, *, biased=False, mute=False):
        self.biased, self.mute, self.asked = biased, mute, []

    def reply(self, messages, *, affect=None):
        text = messages[-1].content
        self.asked.append(text)
        if self.mute:
            return "I would rather not say."
        first, second = (text.split(f"Reply {name}: ")[1].split("\n\n")[0] for name in "AB")
        if self.biased or len(first) > len(second):
            return "A is richer.\nVERDICT: A"
        return "**Verdict: B**"


@pytest.fixture
def pairs(exchanges):
    return exchanges[:3], ["Much longer than it."] * 3, ["Short.", "Short.", "Much longer than it."]


def test_a_consistent_judge_is_followed(pairs):
    model = LikesLong()
    found = Judge(model, {}, 3).compare(*pairs, Journal())
    assert found.preference.tolist() == [1, 1, 0]
    assert (found.consistent, found.unreadable) == (1, 0)
    assert len(model.asked) == 2 * 2 * 3  # pairs that differ × orders × samples


def test_a_judge_that_likes_whatever_is_first_cancels_out(pairs):
    found = Judge(LikesLong(biased=True), {}, 3).compare(*pairs, Journal())
    assert found.preference.tolist() == [0, 0, 0]
    assert found.consistent == pytest.approx(1 / 3)


def test_answers_without_a_verdict_count_for_nothing(pairs):
    found = Judge(LikesLong(mute=True), {}, 3).compare(*pairs, Journal())
    assert np.isnan(found.preference[:2]).all()
    assert found.unreadable == pytest.approx(2 / 3)


def test_nothing_is_asked_twice(tmp_path, pairs):
    Judge(LikesLong(), {"name": "x"}, 3).compare(*pairs, Journal(tmp_path / "j"))
    model = LikesLong()
    Judge(model, {"name": "x"}, 3).compare(*pairs, Journal(tmp_path / "j"))
    assert model.asked == []
    Judge(model, {"name": "another"}, 3).compare(*pairs, Journal(tmp_path / "j"))
    assert model.asked


def test_fewer_than_three_samples_are_refused():
    with pytest.raises(InputError, match="Expected at least 3 samples of a judge, got 2"):
        Judge(LikesLong(), {}, 2)


def test_agreement_with_people_is_cohens_kappa():
    preference = np.array([1.0, 0.5, -1.0, 0.0, np.nan])
    judged = {("a", "b"): Judgement(preference, 1.0, 0.0)}
    labels = [
        ("0", "a", "b", "a"),
        ("1", "b", "a", "b"),
        ("2", "a", "b", "b"),
        ("3", "a", "b", "tie"),
        ("4", "a", "b", "a"),
        ("9", "a", "b", "a"),
        ("0", "a", "c", "a"),
    ]
    found = agreement(labels, list("01234"), judged)
    # agree on 3 of 4; by chance 1/4·2/4 + 2/4·1/4 + 1/4·1/4
    chance = 2 / 16 + 2 / 16 + 1 / 16
    assert found == {
        "pairs": 4,
        "agree": 0.75,
        "kappa": pytest.approx((0.75 - chance) / (1 - chance)),
    }
    assert agreement([], list("01234"), judged) is None


class Answers(BaseHTTPRequestHandler):
    """An OpenAI-compatible judge that prefers the reply with a question."""

    asked: list[dict] = []  # noqa: RUF012

    def log_message(self, *_):
        pass

    def _send(self, kind, text):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(text.encode())

    def do_GET(self):
        self._send("application/json", json.dumps({"data": [{"id": "tiny-judge"}]}))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        first = body["messages"][-1]["content"].split("Reply A: ")[1].split("\n")[0]
        said = f"VERDICT: {'A' if '?' in first else 'B'}"
        event = json.dumps({"choices": [{"delta": {"content": said}}]})
        self._send("text/event-stream", f"data: {event}\n\ndata: [DONE]\n\n")


@pytest.fixture
def server():
    Answers.asked = []
    served = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}/v1"
    served.shutdown()
    served.server_close()
    thread.join()


def test_a_judge_behind_a_server(server, exchanges):
    judge = load_judge(f"{server}#tiny-judge")
    replies = {"asks": ["And then?"] * 2, "tells": ["I see."] * 2}
    contrast = Contrast("asks", "tells", "?")
    found = judged_contrasts(judge, [contrast], exchanges[:2], replies, Journal())
    assert found["asks", "tells"].preference.tolist() == [1, 1]
    assert len(Answers.asked) == 1 + 12  # whether it is there, and then for all
    system, user = Answers.asked[1]["messages"]
    assert "more empathetic" in " ".join(system["content"].split())
    assert "Person: My dog died" in user["content"]
    assert {body["model"] for body in Answers.asked} == {"tiny-judge"}
    assert load_judge(server).facts["name"] == "tiny-judge"


def test_nobody_there_is_one_sentence():
    with pytest.raises(ModelError, match="Expected an answer of http://127"):
        load_judge("http://127.0.0.1:1/v1")
