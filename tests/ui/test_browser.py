"""A real browser talks to the real server with its real models, and leaves no trace.

The server runs sealed (see sealed.py): it can write in one folder only, and reach nobody. The
browser keeps its profile in a folder that is searched, and a log of every address a page asks for.
"""

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

READY_S = 180
ANSWER_MS = 120_000
PATIENCE_S = 20.0
ROOT = Path(__file__).parents[2]
SEALED = Path(__file__).with_name("sealed.py")
MEDIA = (b"\xff\xd8\xff\xe0\x00\x10JFIF", b"WAVEfmt ", b"webm", b"fLaC\x00", b"\x93NUMPY")
"""How pictures and sounds begin, wherever in a file they lie; a page itself consists of PNG."""

SPOKEN = "my dog ran away and I miss him"
TYPED = "the vet says everything is xylophone"
"""A text that no file of a browser holds of itself."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """`attune chat` with the bundled models; yields its address, its folder and its report."""
    folder = tmp_path_factory.mktemp("sealed")
    private = folder / "private"
    private.mkdir()
    report = folder / "report.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-B", str(SEALED), str(report), str(private), "chat", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={k: v for k, v in os.environ.items() if k not in LEFT_BY_TORCH}
        | {"TMPDIR": str(private), "HOME": str(private), "PYTHONPATH": str(ROOT)},
    )
    killer = threading.Timer(READY_S, process.kill)
    killer.start()
    said = []
    for line in process.stdout:
        said.append(line)
        if "http://" in line:
            break
    killer.cancel()
    assert said, "the server ended before it said a word"
    assert "http://" in said[-1], "".join(said)
    yield f"http://{said[-1].split('http://')[1].split()[0]}/", private, report
    process.terminate()
    process.wait(PATIENCE_S)


LEFT_BY_TORCH = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")
"""Folders that torch writes into this process's environment once an earlier test has used it."""


class Searcher(threading.Thread):
    """Looks through folders again and again for files that hold one of some needles."""

    def __init__(self, folders, needles):
        super().__init__(daemon=True)
        self.folders, self.needles = folders, needles
        self.found = set()
        self.seen = {}
        self.over = threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(0.2):
            self.look()

    def look(self):
        for folder in self.folders:
            for path in folder.rglob("*"):
                try:
                    state = path.stat()
                    known = (state.st_mtime_ns, state.st_size)
                    if path.is_file() and self.seen.get(path) != known:
                        self.seen[path] = known
                        held = path.read_bytes()
                        self.found |= {(path.name, n) for n in self.needles if n in held}
                except OSError:
                    continue  # it has gone again

    def stop(self):
        self.over.set()
        self.join()
        self.look()
        return self.found


@pytest.fixture
def profile(playwright, chromium, camera, say, tools, tmp_path):
    """A browser whose person speaks once; yields its page, its profile and its network log."""
    folder, log = tmp_path / "profile", tmp_path / "net.json"
    sound = tmp_path / "sound.wav"
    tools.write_sound(sound, tools.silence(3), say(SPOKEN), tools.silence(60))
    context = playwright.chromium.launch_persistent_context(
        folder,
        executable_path=chromium,
        viewport={"width": 1280, "height": 860},
        permissions=["camera", "microphone"],
        args=[
            *tools.FLAGS,
            f"--use-file-for-fake-video-capture={camera}",
            f"--use-file-for-fake-audio-capture={sound}%noloop",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            f"--log-net-log={log}",
        ],
    )
    context.set_default_timeout(ANSWER_MS)
    yield tools.watched(context.new_page()), folder, log
    context.close()


def asked_by_page(log):
    """Return every address that a page made the browser ask for.

    What Chromium asks of its maker by itself, such as for updates, is no doing of a page: it has
    no page as its initiator, and the resolver refuses it here.
    """
    text = log.read_text().rstrip().rstrip(",")
    events = json.loads(text if text.endswith("}") else text + "]}")
    kinds = {number: name for name, number in events["constants"]["logEventTypes"].items()}
    begun = [e for e in events["events"] if kinds[e["type"]] == "URL_REQUEST_START_JOB"]
    requests = [event["params"] for event in begun if "params" in event]
    return {r["url"] for r in requests if r.get("initiator", "").startswith("http://127.0.0.1")}


def test_a_talk_goes_all_the_way_and_leaves_no_trace(profile, server, tools, keep):
    page, folder, log = profile
    address, private, report = server
    needles = (*MEDIA, TYPED.encode(), TYPED.encode("utf-16-le"))
    searcher = Searcher([private, folder], needles)
    page.goto(address)
    page.locator("#status", has_text=re.compile("^Ready")).wait_for(timeout=READY_S * 1000)
    page.get_by_role("button", name="Start with camera and microphone").click()
    page.locator("#overlay rect").first.wait_for()
    keep(page, "seeing")

    turn = page.locator(".turn").first
    turn.locator(".reply .words").wait_for()
    turn.locator(".caret").wait_for(state="detached")
    assert "You said" in turn.inner_text()
    turn.locator(".apart dt", has_text="Voice").wait_for()
    assert turn.locator(".apart dt").all_inner_texts() == ["Face", "Voice", "Words"]
    assert turn.locator(".said .words").inner_text().strip()  # rough: pocketsphinx, robot's voice
    keep(page, "spoken")

    page.get_by_placeholder("Type here").fill(TYPED)
    page.keyboard.press("Enter")
    typed = page.locator(".turn").nth(1)
    typed.locator(".reply .words").wait_for()
    typed.locator(".caret").wait_for(state="detached")
    typed.get_by_text("That is not how I feel").click()
    typed.get_by_role("button", name="Surprise").click()
    typed.locator(".felt > summary", has_text="Surprise as you say").wait_for()
    typed.locator(".caret").wait_for(state="detached")
    keep(page, "typed")
    page.get_by_role("button", name="Forget everything").click()
    page.locator(".turn").first.wait_for(state="detached")
    page.context.close()

    assert page.errors == []
    assert [url for url in page.requests if not url.startswith(tools.LOOPBACK)] == []
    assert searcher.stop() == set()
    asked = asked_by_page(log)
    assert any(url.startswith("ws://") for url in asked)
    assert [url for url in asked if not url.startswith(tools.LOOPBACK)] == []
    tried = [json.loads(line) for line in report.read_text().splitlines()]
    assert [what for event, what in tried if event == "reach"] == []
    if ["sealed", True] not in tried:
        pytest.skip("the rest held; this kernel has no Landlock to seal the server with")
    outside = [what for event, what in tried if event == "write" and not within(what, private)]
    assert outside == []


def within(path, folder):
    return path == "/dev/null" or Path(path).is_relative_to(folder)
