"""How soon the page answers: stage by stage, with camera, microphone and the bundled models.

    python benchmarks/live.py                # writes benchmarks/live.json and live.md
    python benchmarks/live.py --soak 3600    # talks for that long and prints the server's memory

`attune chat` runs in a process of its own. A scripted person talks to it over the page's own socket
in real time: ten JPEG pictures a second of a face that sways, sound in pieces of 40 ms, sentences
spoken by espeak-ng. Times are the server's own and count from t0, the decision that the turn has
ended; what lies before it is reported apart. Updates and interruptions are timed by the client.
"""

import argparse
import asyncio
import ctypes
import io
import json
import os
import platform
import struct
import subprocess
import sys
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import websockets
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
RATE_HZ = 16_000
PIECE_S = 0.04
PICTURES_PER_S = 10
PATIENCE_S = 120.0
OPEN, START = 0, 2
"""What the page's load and its first button are called, in the order of ui/app.py."""

SENTENCES = (
    "I had a long day at work and my boss shouted at me",
    "my dog ran away and I miss him",
    "maybe I should look for another job",
    "my sister says that I should stay",
    "I do not know what to do",
    "we got a puppy yesterday",
    "he is so small that he sleeps in a shoe",
    "my neighbour complained about the noise",
    "it made me a bit nervous",
    "thank you for listening to me",
)
ROUNDS = 3
"""How often all of them are said."""
INTERRUPTION = "wait a moment I want to say something else"


# -- a person --------------------------------------------------------------------------------------


class Voice:
    """espeak-ng, as int16 at 16 kHz."""

    def __init__(self) -> None:
        import espeakng_loader

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = str(espeakng_loader.get_data_path()).encode()
        self._rate_hz = self._library.espeak_Initialize(2, 0, data, 0)
        self._pieces: list[Any] = []
        form = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
        )
        self._take = form(self._took)
        self._library.espeak_SetSynthCallback(self._take)
        self._library.espeak_SetVoiceByName(b"en-us")
        self._library.espeak_SetParameter(1, 150, 0)

    def _took(self, samples: Any, count: int, _: Any) -> int:
        if count > 0:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(self, text: str) -> np.ndarray:
        """Return the sound of a text, (sample,)."""
        from scipy.signal import resample_poly

        self._pieces.clear()
        said = text.encode()
        self._library.espeak_Synth(said, len(said) + 1, 0, 1, 0, 1, None, None)
        self._library.espeak_Synchronize()
        return resample_poly(np.concatenate(self._pieces) * 0.5, RATE_HZ, self._rate_hz)


def pictures() -> list[bytes]:
    """Return JPEG pictures of a face that sways, 640 × 480."""
    from skimage import data

    face, made = data.astronaut(), []
    for step in range(PICTURES_PER_S):
        left = round(12 * (1 - np.cos(2 * np.pi * step / PICTURES_PER_S)))
        cut = Image.fromarray(face[40 : 40 + 366, left : left + 488]).resize((640, 480))
        packed = io.BytesIO()
        cut.save(packed, "JPEG", quality=80)
        made.append(packed.getvalue())
    return made


class Person:
    """Talks to the page's socket in real time."""

    def __init__(self, address: str, token: str) -> None:
        self._address, self.token = address, token
        self._said: deque[np.ndarray] = deque()
        self._changed = asyncio.Event()
        self._onset_s = 0.0
        self.updates: list[float] = []
        self.shown: dict[str, Any] = {}

    async def talk(self, script: Callable[["Person"], Any]) -> Any:
        """Connect, send media all the time, and follow a script."""
        url = f"ws://{self._address}/media/{self.token}"
        origin = f"http://{self._address}"
        async with websockets.connect(url, origin=origin, max_size=None) as self._socket:
            tasks = [asyncio.create_task(work()) for work in (self._media, self._listen)]
            try:
                return await script(self)
            finally:
                for task in tasks:
                    task.cancel()

    async def say(self, sound: np.ndarray) -> float:
        """Speak, and return when the first sound of it was sent."""
        self._onset_s = 0.0
        loud = np.flatnonzero(np.abs(sound) > 0.05 * np.abs(sound).max())[0]
        self._said.append(sound[loud:].astype("<i2"))
        while not self._onset_s:
            await asyncio.sleep(0.005)
        return self._onset_s

    async def order(self, **order: Any) -> None:
        """Send what the page's script would."""
        await self._socket.send(json.dumps(order))

    async def until(self, condition: Callable[[dict[str, Any]], Any]) -> float:
        """Wait until what is shown meets a condition; return when it did."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition(self.shown):
                self._changed.clear()
                await self._changed.wait()
        return self.updates[-1]

    async def _listen(self) -> None:
        async for message in self._socket:
            change = json.loads(message)
            fragments = self.shown.get("fragments", {}) | change["fragments"]
            self.shown = change | {"fragments": fragments}
            self.updates.append(time.monotonic())
            self._changed.set()

    async def _media(self) -> None:
        size, faces, begun = round(PIECE_S * RATE_HZ), pictures(), time.monotonic()
        left, noise = np.zeros(0, "<i2"), np.random.default_rng(0)
        seen = 0
        for number in range(10**9):
            now_s = number * PIECE_S
            await asyncio.sleep(max(0.0, begun + now_s - time.monotonic()))
            if not len(left) and self._said:
                left, self._onset_s = self._said.popleft(), time.monotonic()
            piece = noise.normal(0, 4, size).astype("<i2")
            piece[: len(left[:size])] = left[:size]
            left = left[size:]
            await self._send(2, now_s, piece.tobytes())
            if now_s * PICTURES_PER_S >= seen:
                await self._send(1, now_s, faces[seen % len(faces)])
                seen += 1

    async def _send(self, kind: int, time_s: float, payload: bytes) -> None:
        await self._socket.send(struct.pack("<B3xId", kind, RATE_HZ, time_s) + payload)


# -- the server ------------------------------------------------------------------------------------


@contextmanager
def server() -> Iterator[tuple[str, int]]:
    """Run `attune chat`; yields its address and the id of its process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ui.cli", "chat", "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = next(line for line in process.stdout if "http://" in line)
    try:
        yield line.split("http://")[1].split()[0], process.pid
    finally:
        process.terminate()
        process.wait()


def post(address: str, path: str, body: Any = None) -> Any:
    """Press a button of the page, or save the talk."""
    headers = {"origin": f"http://{address}", "content-type": "application/json"}
    data = json.dumps(body).encode()
    asked = urllib.request.Request(f"http://{address}/{path}", data, headers, method="POST")
    with urllib.request.urlopen(asked) as answer:
        return json.load(answer)


def enter(address: str) -> str:
    """Open the page and start with camera and microphone; return the token of the talk."""

    def press(button: int, *data: Any) -> Any:
        order = {"fn_index": button, "data": data, "session_hash": "benchmark"}
        return post(address, "gradio_api/run/predict", order)["data"]

    token: str = press(OPEN, "")[1]
    press(START, token)
    return token


def memory_mb(process: int) -> float:
    """Resident memory of a process and those it started, in MB."""
    import psutil

    parent = psutil.Process(process)
    family = [parent, *parent.children(recursive=True)]
    return float(sum(one.memory_info().rss for one in family)) / 1e6


# -- what is measured ------------------------------------------------------------------------------


async def ready(person: Person) -> None:
    """Wait until the models are loaded and the face is seen."""
    await person.until(lambda shown: "Ready" in shown.get("fragments", {}).get("status", ""))
    await asyncio.sleep(2)


def answers(shown: dict[str, Any]) -> int:
    """Return how many answers are complete."""
    speech = shown.get("speech")
    return speech["answer"] if speech and speech["ended"] else 0


async def turns(person: Person) -> dict[str, Any]:
    """Say every sentence and wait for its answer; return the rate of updates meanwhile."""
    voice, rates = Voice(), []
    await ready(person)
    for number, sentence in enumerate(SENTENCES * ROUNDS, 1):
        await person.say(voice.say(sentence))
        await person.until(lambda shown: shown["answering"])
        begun = len(person.updates)
        at = person.updates[-1]
        await person.until(lambda shown, number=number: answers(shown) >= number)
        rates.append((len(person.updates) - begun) / max(time.monotonic() - at, 0.05))
        await asyncio.sleep(0.5)
    return {"updates_per_s_while_answering": summary(rates, low=True)}


async def interruptions(person: Person) -> dict[str, Any]:
    """Speak while the agent does; return how soon its voice goes down, and stops."""
    voice, ducked, hushed = Voice(), [], []
    await ready(person)
    for sentence in SENTENCES[:5]:
        done = person.shown["speech"]["answer"] if person.shown.get("speech") else 0
        await person.say(voice.say(sentence))
        await person.until(lambda shown, done=done: answers(shown) > done)
        turn = person.shown["speech"]["turn"]
        await person.order(kind="spoke", on=True)
        await asyncio.sleep(2.0)
        onset_s = await person.say(voice.say(INTERRUPTION))
        ducked.append(await person.until(lambda shown: shown["ducked"]) - onset_s)
        over = await person.until(lambda shown, turn=turn: shown["hushed_turn"] == turn)
        hushed.append(over - onset_s)
        await person.order(kind="spoke", on=False)
        await person.until(lambda shown, turn=turn: (shown["speech"] or {}).get("turn", 0) > turn)
        await person.until(lambda shown: not shown["answering"])
        await asyncio.sleep(1.0)
    return {
        "voice_to_ducked_ms": summary([1000 * s for s in ducked]),
        "voice_to_stopped_ms": summary([1000 * s for s in hushed]),
    }


def face_path() -> dict[str, Any]:
    """Return how many camera frames of 640 × 480 a second the live recogniser takes."""
    import torch

    from emotion import EmotionRecognizer

    torch.set_num_threads(1)  # as `attune chat` does on two cores
    faces = [np.asarray(Image.open(io.BytesIO(jpeg))) for jpeg in pictures()]
    live = EmotionRecognizer.from_pretrained(device="cpu").stream()
    rate_hz, frames = 30, 300
    for number in range(2 * rate_hz):
        live.push_frame(number / rate_hz, faces[number // 3 % len(faces)])
    begun = time.perf_counter()
    for number in range(2 * rate_hz, 2 * rate_hz + frames):
        live.push_frame(number / rate_hz, faces[number // 3 % len(faces)])
    return {"live_face_path_frames_per_s": round(frames / (time.perf_counter() - begun))}


def summary(values: list[float], *, low: bool = False) -> dict[str, float]:
    """Return median, the worse 95th percentile and the worst."""
    bad, worst = (5, min) if low else (95, max)
    return {
        "median": round(float(np.median(values)), 1),
        f"p{bad}": round(float(np.percentile(values, bad)), 1),
        "worst": round(worst(values), 1),
        "n": len(values),
    }


def stages(talk: dict[str, Any]) -> dict[str, Any]:
    """Return the server's own times of each stage of a saved talk, in ms after t0."""
    names = {
        "pause_s": "pause_before_t0_ms",
        "read_after_s": "estimate_ms",
        "heard_after_s": "transcription_ms",
        "waited_s": "first_word_ms",
    }
    found = {
        name: [1000 * turn[key] for turn in talk["turns"] if turn[key] is not None]
        for key, name in names.items()
    }
    return {name: summary(values) for name, values in found.items() if values}


def measure() -> dict[str, Any]:
    """Measure everything once."""
    facts: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1),
    }
    with server() as (address, process):
        token = enter(address)
        facts |= asyncio.run(Person(address, token).talk(turns))
        facts |= stages(post(address, f"attune-export/{token}/json"))
        facts |= asyncio.run(Person(address, enter(address)).talk(interruptions))
        facts["memory_mb"] = round(memory_mb(process))
    return facts | face_path()


def soak(seconds: float) -> dict[str, Any]:
    """Talk for so long; return the server's memory after each answer, in MB."""

    async def go_on(person: Person) -> list[tuple[float, float]]:
        voice, kept = Voice(), []
        await ready(person)
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            done = person.shown["speech"]["answer"] if person.shown.get("speech") else 0
            await person.say(voice.say(SENTENCES[len(kept) % len(SENTENCES)]))
            await person.until(lambda shown, done=done: answers(shown) > done)
            kept.append((round(time.monotonic() - begun, 1), round(memory_mb(process), 1)))
        return kept

    with server() as (address, process):
        return {"memory_mb": asyncio.run(Person(address, enter(address)).talk(go_on))}


def table(facts: dict[str, Any]) -> str:
    """Return the figures as markdown."""
    rows = [
        f"| {name} | {v['median']} | {v.get('p95', v.get('p5'))} | {v['worst']} | {v['n']} |"
        for name, v in facts.items()
        if isinstance(v, dict)
    ]
    rest = [f"- {name}: {v}" for name, v in facts.items() if not isinstance(v, dict)]
    head = ["# The live page", "", "Written by `python benchmarks/live.py`, which says how.", ""]
    columns = ["| | median | 95 % are better than | worst | n |", "|---|---|---|---|---|"]
    return "\n".join([*head, *columns, *rows, "", *rest, ""])


def main() -> None:
    """Measure and write, or soak and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--soak", type=float, metavar="SECONDS")
    seconds = parser.parse_args().soak
    if seconds is not None:
        print(json.dumps(soak(seconds)))
        return
    facts = measure()
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(facts, indent=1) + "\n")
    path.with_suffix(".md").write_text(table(facts))
    print(table(facts))


if __name__ == "__main__":
    main()
