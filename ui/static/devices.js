// Camera and microphone: they run while the server says so, and stop at once when it does not.
import { PICTURE, SOUND, isSlow, order, sendMedia } from "./socket.js";

const FRAME_MS = 100;
const MOST_WIDTH = 640;
const MOST_HEIGHT = 480;
const JPEG_QUALITY = 0.8;
const ASLEEP_AFTER_MS = 1000;

const WISHES = {
  camera: { video: { width: { ideal: MOST_WIDTH }, height: { ideal: MOST_HEIGHT } } },
  // the page speaks itself: its own voice must not come back through the microphone
  microphone: { audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true } },
};

const canvas = document.createElement("canvas");
let sized = false; // no picture is sent before the canvas has the camera's shape
const streams = { camera: null, microphone: null };
const wanted = { camera: false, microphone: false };
let context = null;
let encoding = false;
let skipped = 0; // pictures that the way was too slow for
let ears = null; // what the microphone's sound runs through: {source, pieces}

// Sound's own clock gives the time of pictures too. Where no sound runs, or must wait for a click,
// the clock of the page goes on from there.
let running = false;
let startS = 0; // media time at which sound's clock began
let idleS = 0; // media time at which sound's clock stood still
let idleMs = performance.now();

const video = () => document.getElementById("camera");

export const nowS = () =>
  running ? startS + context.currentTime : idleS + (performance.now() - idleMs) / 1000;

function keepTime() {
  const timeS = nowS();
  running = context.state === "running";
  if (running) startS = timeS - context.currentTime;
  idleS = timeS;
  idleMs = performance.now();
  if (running) delete document.body.dataset.asleep;
}

function newContext(options) {
  context = new AudioContext(options);
  const own = context;
  own.onstatechange = () => own === context && keepTime();
}

// Sound may only start while a click or a key is handled, or while the microphone is open.
export function wake() {
  if (context === null) newContext({ sampleRate: 16000 });
  if (context.state === "suspended") context.resume();
}

for (const event of ["pointerdown", "keydown"]) {
  addEventListener(event, () => context && wake(), { passive: true });
}

export function follow(devices) {
  Object.assign(wanted, devices);
  run("camera");
  run("microphone");
}

export function release() {
  follow({ camera: false, microphone: false });
}

async function run(channel) {
  if (!wanted[channel]) return close(channel);
  if (streams[channel]) return;
  let stream = "opening";
  streams[channel] = stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia(WISHES[channel]);
    streams[channel] = stream;
    if (!wanted[channel]) return close(channel);
    stream.getTracks()[0].onended = () => refuse(channel, "failed");
    await (channel === "camera" ? look(stream) : listen(stream));
  } catch (error) {
    if (streams[channel] !== stream) return; // switched off meanwhile, which ends what was begun
    streams[channel] = stream === "opening" ? null : stream;
    const problem = { NotAllowedError: "denied", NotFoundError: "missing" }[error.name];
    refuse(channel, isSecureContext ? (problem ?? "failed") : "insecure");
  }
}

function refuse(channel, problem) {
  close(channel);
  wanted[channel] = false;
  order({ kind: "switch", channel, on: false, problem });
}

function close(channel) {
  const stream = streams[channel];
  if (stream === "opening" && !wanted[channel]) return; // closed once it is open
  if (stream && stream !== "opening") {
    stream.getTracks().forEach((track) => {
      track.onended = null;
      track.stop();
    });
  }
  streams[channel] = null;
  if (channel === "microphone") unplug();
  if (channel === "camera" && video()) video().srcObject = null;
}

// A source that has ended is silent, not gone: it would fill the next one's sound with silence.
function unplug() {
  ears?.source.disconnect();
  ears?.pieces.port.postMessage("over");
  ears = null;
}

// Some browsers take sound only at the device's own rate; the clock goes on where it was.
function sourceOf(stream) {
  try {
    return context.createMediaStreamSource(stream);
  } catch (error) {
    if (error.name !== "NotSupportedError") throw error;
    const old = context;
    idleS = nowS();
    idleMs = performance.now();
    running = false;
    newContext();
    old.close();
    wake();
    return context.createMediaStreamSource(stream);
  }
}

async function listen(stream) {
  wake();
  const source = sourceOf(stream);
  await context.audioWorklet.addModule(new URL("worklet.js", import.meta.url));
  if (streams.microphone !== stream) return;
  const pieces = new AudioWorkletNode(context, "pieces", {
    numberOfOutputs: 0,
    channelCount: 1,
    channelCountMode: "explicit",
  });
  pieces.port.onmessage = ({ data }) => {
    if (!wanted.microphone) return;
    sendMedia(SOUND, startS + data.timeS, data.pcm, data.rateHz);
    meter(data.loudest);
  };
  source.connect(pieces);
  ears = { source, pieces };
  setTimeout(() => {
    if (!running && wanted.microphone) document.body.dataset.asleep = "";
  }, ASLEEP_AFTER_MS);
}

// The meter shows that the microphone works, whether or not the sound is speech.
function meter(loudest) {
  const share = Math.max(0, 1 + Math.log10(loudest + 1e-6) / 2.2); // 0 at -44 dB, 1 at full scale
  document.getElementById("stage")?.style.setProperty("--loud", share.toFixed(2));
}

async function look(stream) {
  wake();
  video().srcObject = stream;
  await video().play();
  const { videoWidth, videoHeight } = video();
  const scale = Math.min(MOST_WIDTH / videoWidth, MOST_HEIGHT / videoHeight, 1);
  canvas.width = Math.round(videoWidth * scale);
  canvas.height = Math.round(videoHeight * scale);
  const overlay = document.getElementById("overlay");
  overlay.setAttribute("viewBox", `0 0 ${canvas.width} ${canvas.height}`);
  overlay.setAttribute("preserveAspectRatio", "xMidYMid slice");
  sized = true;
}

// Pictures are left out where the way is slow; sound never is.
setInterval(() => {
  const seen = video();
  const ready = sized && wanted.camera && seen?.srcObject && seen.readyState >= 2;
  if (!ready || encoding) return;
  if (isSlow()) {
    skipped += 1;
    return;
  }
  if (skipped > 0) order({ kind: "skipped", frames: skipped });
  skipped = 0;
  const timeS = nowS();
  canvas.getContext("2d").drawImage(seen, 0, 0, canvas.width, canvas.height);
  encoding = true;
  canvas.toBlob(
    async (blob) => {
      encoding = false;
      if (blob && wanted.camera) sendMedia(PICTURE, timeS, await blob.arrayBuffer());
    },
    "image/jpeg",
    JPEG_QUALITY,
  );
}, FRAME_MS);
