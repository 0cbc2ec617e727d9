"""The page's script alone, in a real browser, without a server: news go in, orders come out.

No voice is heard here: what is tested is what is sent to the browser's synthesiser.
"""

import json
import re
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ui import view
from ui.app import STATIC

pytestmark = pytest.mark.browser

CONNECTED = "() => Boolean(window.socket?.onmessage)"

STAND_INS = """
window.sent = [];
window.WebSocket = class {
  static OPEN = 1;
  constructor(url) {
    this.url = url;
    this.readyState = 1;
    this.bufferedAmount = 0;
    window.socket = this;
    setTimeout(() => this.onopen?.());
  }
  send(message) { if (typeof message === "string") window.sent.push(JSON.parse(message)); }
  close() {}
};
const voice = (name, lang, localService) => ({ name, lang, localService, default: false });
window.synth = {
  voices: [voice("Far", "en-US", false), voice("Nah", "de-DE", true), voice("Near", "en-GB", true)],
  said: [],
  under: null,
  paused: false,
  pauses: true,
  getVoices() { return this.voices; },
  addEventListener(name, act) { this.act = act; },
  speak(utterance) { this.said.push(utterance); this.under = utterance; },
  pause() { if (this.pauses) this.paused = true; },
  resume() { this.paused = false; },
  cancel() { this.under = null; this.cancelled = (this.cancelled ?? 0) + 1; },
  finish() { const done = this.under; this.under = null; done.onend({}); },
  reach(charIndex) { this.under.onboundary({ name: "word", charIndex }); },
};
Object.defineProperty(window, "speechSynthesis", { value: window.synth });
window.SpeechSynthesisUtterance = class { constructor(text) { this.text = text; } };
"""

HTML = f"""<!doctype html><html lang="en"><base href="./"><meta charset="utf-8">
<style>* {{ box-sizing: border-box }}</style>
<link rel="stylesheet" href="attune/page.css">
<body style="margin: 0" class="gradio-container"><main>{view.header()}<div id="room">
<div id="stage" class="html-container">{view.stage()}</div><div id="talk">{view.talk()}</div></div>
<button id="stop">Stop the answer</button><script src="attune/page.js"></script></main></html>"""


@pytest.fixture(scope="module")
def browser(playwright, chromium):
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    browser = playwright.chromium.launch(executable_path=chromium, args=flags)
    yield browser
    browser.close()


class Server(SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/":
            self.answer(HTML.encode(), "text/html")
            return
        super().do_GET()

    def do_POST(self):
        assert self.path == "/attune-export/token-1/json"
        self.answer(b'{"format": 1}', "application/json")

    def answer(self, body, media_type):
        self.send_response(200)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Disposition", 'inline; filename="attune-talk.json"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def translate_path(self, path):
        return str(STATIC / path.removeprefix("/attune/"))

    def end_headers(self):
        self.send_header("Cache-Control", "max-age=600")
        super().end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def origin():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class Script:
    """The page, and what it was told and has said."""

    def __init__(self, page):
        self.page = page

    def tell(self, **news):
        blank = {
            "screen": "talk",
            "devices": {"camera": False, "microphone": False},
            "answering": False,
            "order": [],
            "fragments": {},
            "turns": {},
            "speech": None,
            "ducked": False,
            "hushed_turn": None,
        }
        message = json.dumps(blank | news)
        self.page.evaluate("news => socket.onmessage({ data: news })", message)

    def orders(self, kind):
        return [order for order in self.page.evaluate("sent") if order["kind"] == kind]

    def said(self):
        return self.page.evaluate("synth.said.map(({ text }) => text)")

    def aloud(self):
        """Switch the voice on."""
        self.tell()
        self.page.locator("#aloud").click()


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page()
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.add_init_script(STAND_INS)
    return page


@pytest.fixture
def script(page, origin):
    page.goto(f"{origin}/")
    page.evaluate("sessionStorage.clear(); attune.connect('token-1')")
    page.wait_for_function(CONNECTED)
    yield Script(page)
    assert page.errors == []


def speech(*sentences, turn=0, answer=1, rate=0.9, pitch=0.95, ended=False):
    return {
        "turn": turn,
        "answer": answer,
        "sentences": sentences,
        "rate": rate,
        "pitch": pitch,
        "ended": ended,
    }


# -- the voice ------------------------------------------------------------------------------------


def test_sentences_are_spoken_one_by_one_as_they_get_ready(script):
    script.aloud()
    script.tell(speech=speech("Oh no."))
    script.tell(speech=speech("Oh no.", "What happened?", ended=True))
    assert script.said() == ["Oh no."]
    assert script.orders("spoke") == [{"kind": "spoke", "on": True}]
    script.page.evaluate("synth.finish()")
    assert script.said() == ["Oh no.", "What happened?"]
    script.page.evaluate("synth.finish()")
    assert [order["on"] for order in script.orders("spoke")] == [True, False]


def test_the_voice_is_one_of_this_machine_in_the_language_of_the_answers(script):
    script.aloud()
    script.tell(speech=speech("Oh no.", rate=0.88, pitch=0.94))
    how = "(({ voice, rate, pitch }) => [voice.name, rate, pitch])(synth.under)"
    assert script.page.evaluate(how) == ["Near", 0.88, 0.94]


def test_without_a_voice_of_this_machine_the_switch_is_grey_and_says_why(script):
    script.page.evaluate("synth.voices.splice(1); synth.act()")
    switch = script.page.locator("#aloud")
    assert switch.is_disabled()
    assert "no voice on this machine" in script.page.locator("#aloud-why").inner_text()
    script.tell(speech=speech("Oh no.", ended=True))
    assert script.said() == []


def test_who_begins_by_voice_is_answered_by_voice_and_who_types_is_not(script):
    script.tell(devices={"camera": False, "microphone": False})
    assert script.page.locator("#aloud").get_attribute("aria-checked") == "false"
    script.page.reload()
    script.page.evaluate("attune.connect('token-1')")
    script.page.wait_for_function(CONNECTED)
    script.page.evaluate("void (navigator.mediaDevices.getUserMedia = () => new Promise(() => 0))")
    script.tell(devices={"camera": False, "microphone": True})
    assert script.page.locator("#aloud").get_attribute("aria-checked") == "true"


def test_a_ducked_voice_is_held_and_goes_on(script):
    script.aloud()
    script.tell(speech=speech("Oh no."))
    script.tell(speech=speech("Oh no."), ducked=True)
    assert script.page.evaluate("synth.paused")
    script.tell(speech=speech("Oh no."), ducked=False)
    assert not script.page.evaluate("synth.paused")
    assert script.said() == ["Oh no."]


def test_a_voice_that_cannot_pause_goes_on_from_the_word_it_was_at(script):
    script.aloud()
    script.page.evaluate("synth.pauses = false")
    script.tell(speech=speech("I am so sorry."))
    script.page.evaluate("synth.reach(8)")
    script.tell(speech=speech("I am so sorry."), ducked=True)
    script.page.wait_for_function("synth.under === null")
    script.tell(speech=speech("I am so sorry.", "Tell me."), ducked=True)
    assert script.said() == ["I am so sorry."]
    script.tell(speech=speech("I am so sorry.", "Tell me."), ducked=False)
    assert script.said() == ["I am so sorry.", "sorry."]
    script.page.evaluate("synth.finish()")
    assert script.said()[-1] == "Tell me."


def test_an_interrupted_voice_stops_and_does_not_begin_again(script):
    script.aloud()
    script.tell(speech=speech("Oh no.", "What happened?"))
    script.tell(speech=None, hushed_turn=0)
    assert script.page.evaluate("synth.under") is None
    assert script.orders("spoke")[-1] == {"kind": "spoke", "on": False}
    script.tell(speech=speech("I see.", turn=1, answer=2, ended=True))
    assert script.said() == ["Oh no.", "I see."]


def test_the_switch_says_what_the_voice_does(script):
    state = script.page.locator("#aloud b")
    assert state.inner_text() == "off"
    script.aloud()
    assert state.inner_text() == "on"
    script.tell(speech=speech("Oh no."))
    assert state.inner_text() == "speaking"
    script.tell(speech=speech("Oh no."), ducked=True)
    assert state.inner_text() == "waits"


def test_an_answer_given_anew_is_spoken_anew(script):
    script.aloud()
    script.tell(speech=speech("Oh no."))
    script.tell(speech=speech("How lovely!", answer=2))
    assert script.said() == ["Oh no.", "How lovely!"]


@pytest.mark.parametrize("how", ["#stop", "Escape", "#aloud"])
def test_a_person_can_hush_the_voice_at_once(script, how):
    script.aloud()
    script.tell(speech=speech("Oh no."))
    if how == "Escape":
        script.page.locator("#turns").press("Escape")
    else:
        script.page.locator(how).click()
    assert script.page.evaluate("synth.under") is None
    script.tell(speech=speech("Oh no.", "What happened?", ended=True))
    assert script.said() == ["Oh no."]
    assert [order["on"] for order in script.orders("spoke")] == [True, False]


def test_a_reload_does_not_repeat_the_last_answer(script):
    script.tell(speech=speech("Oh no.", ended=True))
    script.page.locator("#aloud").click()
    script.tell(speech=speech("Oh no.", ended=True))
    assert script.said() == []


# -- what is shown --------------------------------------------------------------------------------


def turn_with(words, reply=""):
    return (
        f'<div class="said"><details class="edit"><summary>Edit</summary><form data-edit="0">'
        f'<textarea aria-label="What you said">{words}</textarea>'
        '<button type="button" data-cancel>Leave it</button><button type="submit">Send</button>'
        '</form></details><details class="why"><summary>Why</summary>'
        f'<div id="why-0" data-slot></div></details></div><p class="reply">{reply}</p>'
    )


def test_pictures_stay_while_the_answer_streams_and_what_was_unfolded_too(script):
    fragments = {"why-0": '<img alt="face" src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">'}
    script.tell(order=[0], turns={0: turn_with("hello")}, fragments=fragments)
    script.page.get_by_text("Why").click()
    picture = script.page.locator("#why-0 img").element_handle()
    script.tell(order=[0], turns={0: turn_with("hello", "I see")})
    assert script.page.locator(".reply").inner_text() == "I see"
    assert picture.evaluate("img => img.isConnected && img.closest('details').open")


def test_words_are_corrected_in_place(script):
    script.tell(order=[0], turns={0: turn_with("my frog ran away")})
    script.page.locator(".edit summary").click()
    field = script.page.get_by_label("What you said")
    script.page.wait_for_function("document.activeElement.matches('textarea')")
    field.fill("my dog ran away")
    script.tell(order=[0], turns={0: turn_with("my frog ran away", "Oh")})  # typed words stay
    field.press("Enter")
    assert script.orders("edit") == [{"kind": "edit", "turn": 0, "text": "my dog ran away"}]
    assert not field.is_visible()


def test_a_correction_can_be_left(script):
    script.tell(order=[0], turns={0: turn_with("my frog ran away")})
    for leave in ("Escape", "Leave it"):
        script.page.locator(".edit summary").click()
        field = script.page.get_by_label("What you said")
        field.fill("something else")
        field.press("Escape") if leave == "Escape" else script.page.get_by_text(leave).click()
        assert not field.is_visible()
        assert field.input_value() == "my frog ran away"
    assert script.orders("edit") == []


def test_a_feeling_is_picked_and_a_point_of_the_talk_leads_to_its_turn(script):
    picks = '<button data-turn="0" data-emotion="sad">Sad</button>'
    so_far = '<button type="button" data-goto="0">point</button>'
    script.tell(order=[0], turns={0: picks}, fragments={"so-far": so_far})
    script.page.get_by_role("button", name="Sad").click()
    assert script.orders("correct") == [{"kind": "correct", "turn": 0, "emotion": "sad"}]
    script.page.get_by_text("point").click()
    script.page.locator("#turn-0.shown").wait_for()


def test_turns_that_are_forgotten_go(script):
    script.tell(order=[0, 1], turns={0: "a", 1: "b"})
    script.tell(order=[])
    assert script.page.locator(".turn").count() == 0


@pytest.mark.parametrize(
    ("code", "words", "remembered"),
    [(1006, "trying again", True), (4404, "away too long", False), (4409, "another tab", True)],
)
def test_a_lost_connection_is_said_and_why(script, code, words, remembered):
    script.page.evaluate("code => socket.onclose({ code })", code)
    assert words in script.page.locator("#lost").inner_text()
    kept = script.page.evaluate("sessionStorage['attune.token'] ?? null")
    assert (kept == "token-1") is remembered


def test_the_microphone_is_asked_to_leave_the_pages_own_voice_out(script):
    script.page.evaluate(
        """() => {
            window.asked = null;
            navigator.mediaDevices.getUserMedia = async (wishes) => {
                window.asked = wishes;
                throw new DOMException("not here", "NotFoundError");
            };
        }"""
    )
    script.tell(devices={"camera": False, "microphone": True})
    script.page.wait_for_function("window.asked !== null")
    assert script.page.evaluate("asked.audio.echoCancellation") is True
    script.page.wait_for_function("sent.some(({ problem }) => problem === 'missing')")


def test_a_page_in_the_clear_is_told_why_it_gets_no_device(script):
    script.page.evaluate(
        """() => {
            Object.defineProperty(window, "isSecureContext", { value: false });
            Object.defineProperty(navigator, "mediaDevices", { value: undefined });
        }"""
    )
    script.tell(devices={"camera": True, "microphone": True})
    script.page.wait_for_function("sent.length === 2")
    assert {order["problem"] for order in script.orders("switch")} == {"insecure"}


def test_pictures_that_the_way_is_too_slow_for_are_left_out_and_counted(script):
    script.page.evaluate(
        """() => {
            const canvas = document.createElement("canvas");
            const paint = canvas.getContext("2d");
            setInterval(() => paint.fillRect(0, 0, Math.random() * 9, 9), 30);
            navigator.mediaDevices.getUserMedia = async () => canvas.captureStream(20);
            socket.pictures = 0;
            const send = socket.send;
            socket.send = function (message) {
                if (typeof message !== "string") this.pictures += 1;
                send.call(this, message);
            };
        }"""
    )
    script.tell(devices={"camera": True, "microphone": False})
    script.page.wait_for_function("socket.pictures > 1")
    script.page.evaluate("socket.bufferedAmount = 1e6; sent.length = 0")
    seen = script.page.evaluate("socket.pictures")
    script.page.wait_for_function(
        "start => performance.now() - start > 500", arg=script.page.evaluate("performance.now()")
    )
    assert script.page.evaluate("socket.pictures") <= seen + 1  # one was being packed
    script.page.evaluate("socket.bufferedAmount = 0")
    script.page.wait_for_function("sent.some(({ kind }) => kind === 'skipped')")
    assert script.orders("skipped")[0]["frames"] >= 2
    script.tell()


def test_the_time_of_pictures_goes_on_where_no_sound_runs(script):
    clock = "async () => (await import('./attune/devices.js')).nowS()"
    first_s = script.page.evaluate(clock)
    script.page.wait_for_function(
        "async before => (await import('./attune/devices.js')).nowS() > before", arg=first_s
    )


def test_nothing_that_was_said_is_stored(script):
    script.aloud()
    script.tell(order=[0], turns={0: turn_with("a secret")}, speech=speech("A secret."))
    kept = script.page.evaluate("JSON.stringify([{ ...sessionStorage }, { ...localStorage }])")
    assert json.loads(kept) == [{"attune.token": "token-1", "attune.aloud": "on"}, {}]


def test_the_talk_is_saved_on_request(script, origin):
    asked = []
    script.page.on("request", lambda r: asked.append((r.method, r.url.removeprefix(origin))))
    saves = (
        '<details class="save" open><button type="button" data-save="json">JSON</button></details>'
    )
    script.tell(order=[0], turns={0: "hello"}, fragments={"so-far": saves})
    assert asked == []
    with script.page.expect_download() as download:
        script.page.get_by_text("JSON").click()
    assert download.value.suggested_filename == "attune-talk.json"
    assert ("POST", "/attune-export/token-1/json") in asked


def test_the_page_fits_a_phone(script):
    script.page.set_viewport_size({"width": 360, "height": 700})
    script.tell()
    too_wide = script.page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert too_wide <= 0
    small = script.page.evaluate(
        "[...document.querySelectorAll('#devices button')].map(b => b.offsetHeight)"
    )
    assert min(small) >= 44


def test_words_of_the_page_come_from_one_place():
    for path in STATIC.glob("*.js"):
        said = re.findall(r'textContent = "(.+)"', path.read_text())
        assert said == [], path.name
