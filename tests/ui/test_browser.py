"""A real browser with a fake camera and microphone talks to the real server and models."""

import os
import shutil
import subprocess
import sys
import threading
import wave

import numpy as np
import pytest

pytestmark = pytest.mark.browser

READY_S = 120
ANSWER_MS = 90_000
RATE_HZ = 48_000
WIDTH, HEIGHT, PICTURES_PER_S = 640, 480, 15
LOOPBACK = ("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:", "about:")
MEDIA = {".wav", ".jpg", ".jpeg", ".png", ".webm", ".mp4", ".mp3", ".flac", ".ogg", ".npy"}
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]


@pytest.fixture(scope="module")
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
def server(tmp_path_factory):
    """`attune chat` with the bundled models; yields its address and its own temporary folder."""
    private = tmp_path_factory.mktemp("private")
    process = subprocess.Popen(
        [sys.executable, "-m", "ui.cli", "chat", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"TMPDIR": str(private), "GRADIO_TEMP_DIR": str(private / "gradio")},
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
    yield said[-1].split("http://")[1].split()[0], private
    process.terminate()
    process.wait(20)


def write_sound(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(samples.astype("<i2").tobytes())


def write_pictures(path, pictures):
    """Write (height, width, 3) uint8 pictures as Y4M, the form of Chromium's fake camera."""
    import av

    with path.open("wb") as file:
        file.write(b"YUV4MPEG2 W%d H%d F%d:1 Ip A1:1\n" % (WIDTH, HEIGHT, PICTURES_PER_S))
        for rgb in pictures:
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            planes = frame.reformat(WIDTH, HEIGHT, "yuv420p").to_ndarray()
            file.write(b"FRAME\n" + planes.tobytes())


def cropped(rgb):
    """Cut the middle out of a picture, 4:3."""
    height, width, _ = rgb.shape
    kept = min(width, height * WIDTH // HEIGHT)
    left = (width - kept) // 2
    top = (height - kept * HEIGHT // WIDTH) // 2
    return np.ascontiguousarray(rgb[top : height - top, left : left + kept])


def spoken_media(folder, clip):
    """Turn a real clip into what camera and microphone give: silence, the clip, silence."""
    import av

    with av.open(str(clip)) as media:
        every = round(media.streams.video[0].average_rate / PICTURES_PER_S)
        frames = [frame.to_ndarray(format="rgb24") for frame in media.decode(video=0)][::every]
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
    with av.open(str(clip)) as media:
        pieces = [
            piece.to_ndarray().ravel()
            for frame in media.decode(audio=0)
            for piece in resampler.resample(frame)
        ]
    quiet = [np.zeros(seconds * RATE_HZ, np.int16) for seconds in (2, 3)]
    write_pictures(folder / "camera.y4m", map(cropped, frames))
    write_sound(folder / "microphone.wav", np.concatenate([quiet[0], *pieces, quiet[1]]))


def silent_media(folder):
    data = pytest.importorskip("skimage.data")
    write_pictures(folder / "camera.y4m", [cropped(data.astronaut())] * 5)
    write_sound(folder / "microphone.wav", np.zeros(5 * RATE_HZ))


@pytest.fixture
def clip(data_folder):
    """The real clip, or None where the corpora are not at hand."""
    found = data_folder and data_folder / "clips" / "01-01-06-01-02-01-09.mp4"
    return found if found and found.is_file() else None


@pytest.fixture
def page(chromium, clip, tmp_path):
    """A page with a fake camera and microphone; notes its errors and its requests."""
    from playwright.sync_api import sync_playwright

    spoken_media(tmp_path, clip) if clip else silent_media(tmp_path)
    devices = [
        f"--use-file-for-fake-video-capture={tmp_path / 'camera.y4m'}",
        f"--use-file-for-fake-audio-capture={tmp_path / 'microphone.wav'}%noloop",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, *devices])
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.errors, page.requests = [], []
        page.on("console", lambda m: page.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("request", lambda request: page.requests.append(request.url))
        page.on("websocket", lambda socket: page.requests.append(socket.url))
        yield page
        browser.close()


def is_running(page, kind):
    return page.evaluate(
        "kind => (document.querySelector('#camera')?.srcObject?.getTracks() ?? [])"
        ".some(track => track.readyState === 'live' && track.kind === kind)",
        kind,
    )


def test_an_utterance_goes_all_the_way(page, server, clip):
    address, private = server
    page.goto(f"http://{address}/")
    page.locator("#status", has_text="Ready").wait_for(timeout=READY_S * 1000)
    assert page.get_by_text("Before we talk").is_visible()
    assert not page.locator("#room").is_visible()
    assert not is_running(page, "video")

    page.get_by_role("button", name="Start with camera and microphone").click()
    page.locator("#overlay rect").first.wait_for(timeout=ANSWER_MS)
    assert is_running(page, "video")
    if clip is None:
        page.get_by_placeholder("Type here").fill("My dog ran away and I miss him.")
        page.keyboard.press("Enter")

    turn = page.locator(".turn").first
    turn.locator(".felt .columns").wait_for(timeout=ANSWER_MS)
    turn.locator(".reply .words").wait_for(timeout=ANSWER_MS)
    turn.locator(".caret").wait_for(state="detached", timeout=ANSWER_MS)
    assert turn.locator(".felt .chip").first.inner_text().strip()
    assert turn.locator(".apart dt").first.inner_text() == "Face"
    assert turn.locator(".said .words").inner_text().strip()
    assert turn.locator(".reply .words").inner_text().strip()
    if clip is not None:
        assert "You said" in turn.inner_text()
        assert "Voice" in turn.locator(".apart").inner_text()

    turn.get_by_text("That is not how I feel").click()
    turn.get_by_role("button", name="Surprise").click()
    turn.locator(".felt > summary", has_text="Surprise as you say").wait_for()
    turn.locator(".caret").wait_for(state="detached", timeout=ANSWER_MS)

    page.get_by_role("button", name="Forget everything").click()
    page.locator(".turn").first.wait_for(state="detached")
    page.locator('[data-switch="camera"]').click()
    page.get_by_text("The camera is off.").wait_for()
    assert not is_running(page, "video")

    assert page.errors == []
    assert [url for url in page.requests if not url.startswith(LOOPBACK)] == []
    assert any(url.startswith("ws://") for url in page.requests)
    assert [path for path in private.rglob("*") if path.suffix.lower() in MEDIA] == []
