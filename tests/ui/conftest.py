"""A real browser with a fake camera and microphone, and the page served for it."""

import ctypes
import json
import os
import shutil
import socket
import subprocess
import threading
import wave
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "tests" / "screenshots"
RATE_HZ = 48_000
WIDTH, HEIGHT, PICTURES_PER_S = 640, 480, 15
PATIENCE_S = 60.0  # a busy machine draws the page in as many as ten seconds
LOOPBACK = (
    "http://127.0.0.1:",
    "https://127.0.0.1:",
    "ws://127.0.0.1:",
    "wss://127.0.0.1:",
    "data:",
    "blob:",
    "about:",
)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-fake-device-for-media-stream",
]

# The page has its first news of the server, or is told that the house is full.
CONNECTED = (
    "() => document.querySelector('#status')?.textContent || document.querySelector('#full')"
)

# What the page sends to the synthesiser is noted; `finish` ends a sentence as a voice would.
SYNTHESISER = """
(() => {
  const noted = { spoken: [], cancelled: 0, paused: 0, current: null };
  class Utterance {
    constructor(text) { this.text = text; }
  }
  const voices = [
    { name: "Here", lang: "en-US", localService: true, default: true },
    { name: "Elsewhere", lang: "en-GB", localService: false, default: false },
  ];
  const synthesis = {
    paused: false,
    getVoices: () => voices,
    addEventListener() {},
    speak(utterance) {
      const { text, rate, pitch, voice } = utterance;
      noted.spoken.push({ text, rate, pitch, voice: voice.name, atMs: performance.now() });
      noted.current = utterance;
    },
    pause() { this.paused = true; noted.paused += 1; noted.pausedMs = performance.now(); },
    resume() { this.paused = false; },
    cancel() {
      if (noted.current) { noted.cancelled += 1; noted.cancelledMs = performance.now(); }
      noted.current = null;
    },
  };
  noted.finish = () => { const done = noted.current; noted.current = null; done?.onend?.({}); };
  Object.defineProperty(window, "speechSynthesis", { value: synthesis });
  window.SpeechSynthesisUtterance = Utterance;
  window.noted = noted;
})();
"""


@pytest.fixture(scope="session")
def chromium():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    reason = "no chromium, chromium-browser or google-chrome on the PATH"
    if os.environ.get("CI"):
        pytest.fail(reason)
    return pytest.skip(reason)


@pytest.fixture(scope="module")
def playwright(chromium):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright


# -- fake devices ----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def say():
    """Speak English with espeak-ng: text -> int16 of shape (sample,) at RATE_HZ."""
    import espeakng_loader
    from scipy.signal import resample_poly

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    pieces = []
    form = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
    )

    @form
    def take(samples, count, _):
        if count > 0:
            pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    rate_hz = library.espeak_Initialize(2, 0, str(espeakng_loader.get_data_path()).encode(), 0)
    library.espeak_SetSynthCallback(take)
    library.espeak_SetVoiceByName(b"en-us")

    def say(text, words_a_minute=140):
        pieces.clear()
        library.espeak_SetParameter(1, words_a_minute, 0)
        library.espeak_Synth(text.encode(), len(text.encode()) + 1, 0, 1, 0, 1, None, None)
        library.espeak_Synchronize()
        return resample_poly(np.concatenate(pieces) * 0.5, RATE_HZ, rate_hz).astype(np.int16)

    yield say
    library.espeak_Terminate()


def silence(seconds):
    return np.zeros(round(seconds * RATE_HZ), np.int16)


@pytest.fixture(scope="session", name="silence")
def silence_fixture():
    return silence


@pytest.fixture(scope="session")
def tools():
    """What this file has for tests that start a browser or a server of their own."""
    return SimpleNamespace(
        FLAGS=FLAGS, LOOPBACK=LOOPBACK, silence=silence, watched=watched, write_sound=write_sound
    )


def write_sound(path, *pieces):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(np.concatenate(pieces).astype("<i2").tobytes())
    return path


def write_pictures(path, pictures):
    """Write (height, width, 3) uint8 pictures as Y4M, the form of Chromium's fake camera."""
    import av

    with path.open("wb") as file:
        file.write(b"YUV4MPEG2 W%d H%d F%d:1 Ip A1:1\n" % (WIDTH, HEIGHT, PICTURES_PER_S))
        for rgb in pictures:
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            planes = frame.reformat(WIDTH, HEIGHT, "yuv420p").to_ndarray()
            file.write(b"FRAME\n" + planes.tobytes())
    return path


def swaying(rgb, count=15, pixels=24):
    """Cut 4:3 pictures out of one, going from side to side."""
    height, width, _ = rgb.shape
    kept = (width - pixels) // 4 * 4
    top = (height - kept * 3 // 4) // 3
    lefts = (pixels / 2 * (1 - np.cos(2 * np.pi * np.arange(count) / count))).astype(int)
    for left in lefts:
        yield np.ascontiguousarray(rgb[top : top + kept * 3 // 4, left : left + kept])


@pytest.fixture(scope="session")
def camera(tmp_path_factory):
    """A face that sways, as Y4M."""
    data = pytest.importorskip("skimage.data")
    return write_pictures(tmp_path_factory.mktemp("camera") / "face.y4m", swaying(data.astronaut()))


@pytest.fixture(scope="module")
def launch(playwright, chromium, camera, tmp_path_factory):
    """Start a browser whose microphone gives these pieces of sound, once; silence by default."""
    browsers = []

    def launch(*sound, flags=()):
        path = tmp_path_factory.mktemp("microphone") / "sound.wav"
        write_sound(path, *(sound or (silence(5),)))
        devices = [
            f"--use-file-for-fake-video-capture={camera}",
            f"--use-file-for-fake-audio-capture={path}%noloop",
        ]
        args = [*FLAGS, *devices, *flags]
        browsers.append(playwright.chromium.launch(executable_path=chromium, args=args))
        return browsers[-1]

    yield launch
    for browser in browsers:
        browser.close()


@pytest.fixture(scope="module")
def quiet_browser(launch):
    """A browser whose microphone hears nothing; shared, for every page is a context of its own."""
    return launch()


# -- pages -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def contexts():
    """Browser profiles that the pages of a module share: what Gradio loads is loaded once."""
    return {}


@pytest.fixture
def visit(contexts):
    """Open the page in a browser; in the end no error and no foreign request may have come of it.

    `allow` names the devices that the person lets the browser use.
    """
    pages = []

    def visit(
        browser,
        address,
        allow=("camera", "microphone"),
        synthesiser=False,
        scheme="light",
        size=(1280, 860),
        **options,
    ):
        key = (browser, allow, json.dumps(options))
        if key not in contexts:
            contexts[key] = browser.new_context(**options)
            contexts[key].grant_permissions(list(allow))
            contexts[key].set_default_timeout(1000 * PATIENCE_S)
        page = watched(contexts[key].new_page())
        pages.append(page)
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.emulate_media(color_scheme=scheme)
        if synthesiser:
            page.add_init_script(SYNTHESISER)
        page.goto(address)
        page.wait_for_function(CONNECTED)
        return page

    yield visit
    for page in pages:
        page.close()
    assert [error for page in pages for error in page.errors] == []
    assert [u for page in pages for u in page.requests if not u.startswith(LOOPBACK)] == []


def watched(page):
    page.errors, page.requests = [], []
    page.on("console", lambda m: page.errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("request", lambda request: page.requests.append(request.url))
    page.on("websocket", lambda opened: page.requests.append(opened.url))
    return page


@pytest.fixture
def keep():
    """Keep a picture of a page in a state, in tests/screenshots."""

    def keep(page, name):
        SCREENSHOTS.mkdir(exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{name}.png", animations="disabled")

    return keep


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A certificate for localhost that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    made = subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        " -keyout key.pem -out cert.pem -subj /CN=localhost",
        shell=True,
        cwd=folder,
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("no openssl to make a certificate with")
    return folder / "cert.pem", folder / "key.pem"


# -- servers ---------------------------------------------------------------------------------------


@dataclass
class StandIns:
    """Models that answer at once; what a test changes of them holds for the talks it opens."""

    recognizer: object
    transcriber: object
    responder: object

    def parts(self):
        from integration.parts import Parts

        loaded = Future()
        loaded.set_result(Parts(self.recognizer, self.transcriber, self.responder))
        return loaded


@dataclass
class House:
    """A page that is served in this process.

    Attributes:
        address: Where a browser finds it.
        rooms: Its talks.
        models: Stand-ins that the talks share.
    """

    address: str
    rooms: object = field(repr=False)
    models: object = field(repr=False)

    @property
    def talks(self):
        """The pipelines of the talks, in the order in which they were opened."""
        return [room.pipeline for room in self.rooms._rooms.values()]

    def clear(self):
        """End all talks and let the models begin afresh."""
        self.rooms.close()
        self.models.recognizer.opened.clear()
        self.models.transcriber.texts[:] = []
        self.models.responder.asked.clear()
        self.models.responder.gate = None
        self.models.responder.pieces = ("I ", "see.")


@pytest.fixture(scope="module")
def serve(fakes):
    """Serve the page in this process, with stand-ins for the models."""
    import uvicorn

    from integration.pipeline import Pipeline
    from ui.access import Access
    from ui.app import build_app
    from ui.rooms import Rooms

    running = []

    def serve(access=None):
        access = access or Access(talks=100)
        models = StandIns(
            fakes["FakeRecognizer"](), fakes["FakeTranscriber"](), fakes["FakeResponder"]()
        )
        parts = models.parts()
        rooms = Rooms(lambda: Pipeline(parts), most=access.talks)
        listener = socket.socket()
        listener.bind((access.host, 0))
        config = uvicorn.Config(
            build_app(parts, rooms=rooms, access=access),
            log_level="critical",
            timeout_graceful_shutdown=1,
            ssl_certfile=access.certificate,
            ssl_keyfile=access.key,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        running.append((server, thread))
        port = listener.getsockname()[1]
        return House(f"{access.scheme}://{access.host}:{port}/", rooms, models)

    yield serve
    for server, thread in running:
        server.should_exit = True
        thread.join(PATIENCE_S)


@pytest.fixture(scope="module")
def shared_house(serve):
    return serve()


@pytest.fixture
def house(shared_house):
    """The page with stand-ins for the models and no talk yet."""
    shared_house.clear()
    yield shared_house
    shared_house.clear()
