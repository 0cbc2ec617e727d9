// The browser's half of the page: devices in, fragments out. The server decides what is shown and
// which device runs; nothing is stored here.
const attune = (() => {
  const FRAME_MS = 100;
  const MOST_WIDTH = 640;
  const MOST_HEIGHT = 480;
  const JPEG_QUALITY = 0.8;
  const MOST_WAITING_BYTES = 200_000;
  const PICTURE = 1;
  const SOUND = 2;
  const GONE = 4404;

  const canvas = document.createElement("canvas");
  const streams = { camera: null, microphone: null };
  const wanted = { camera: false, microphone: false };
  let socket = null;
  let token = "";
  let context = null;
  let contextStartS = 0;
  let originS = 0;
  let encoding = false;
  let retryMs = 500;

  const byId = (id) => document.getElementById(id);

  // -- socket ----------------------------------------------------------------------------------

  function connect(given) {
    token = given;
    if (!token) return;
    if (!byId("turns")) {
      requestAnimationFrame(() => connect(token));
      return;
    }
    const url = new URL(`media/${token}`, document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      retryMs = 500;
      originS = nowS(); // the server goes on from where the last connection ended
      delete document.body.dataset.lost;
    };
    socket.onmessage = (event) => show(JSON.parse(event.data));
    socket.onclose = (event) => {
      document.body.dataset.lost = event.code === GONE ? "gone" : "trying";
      if (event.code === GONE) return close();
      setTimeout(() => connect(token), retryMs);
      retryMs = Math.min(retryMs * 2, 8000);
    };
  }

  function order(what) {
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(what));
  }

  function sendMedia(kind, timeS, payload, rateHz = 0) {
    if (socket?.readyState !== WebSocket.OPEN || timeS < originS) return;
    const message = new Uint8Array(16 + payload.byteLength);
    const header = new DataView(message.buffer);
    header.setUint8(0, kind);
    header.setUint32(4, rateHz, true);
    header.setFloat64(8, timeS - originS, true);
    message.set(new Uint8Array(payload), 16);
    socket.send(message);
  }

  // -- what is shown ---------------------------------------------------------------------------

  function show(change) {
    const atEnd = innerHeight + scrollY > document.documentElement.scrollHeight - 160;
    const isNew = change.order.some((id) => !byId(`turn-${id}`));
    document.body.dataset.screen = change.screen;
    document.body.toggleAttribute("data-answering", change.answering);
    for (const [id, html] of Object.entries(change.fragments)) update(byId(id), html);
    showTurns(change);
    Object.assign(wanted, change.devices);
    follow("camera");
    follow("microphone");
    byId("picture")?.toggleAttribute("data-off", !wanted.camera);
    if (isNew || (atEnd && Object.keys(change.turns).length)) {
      scrollTo({ top: document.documentElement.scrollHeight, behavior: "smooth" });
    }
  }

  function showTurns({ order, turns }) {
    const log = byId("turns");
    const kept = new Set(order.map((id) => `turn-${id}`));
    for (const old of [...log.children]) if (!kept.has(old.id)) old.remove();
    for (const id of order) {
      let turn = byId(`turn-${id}`);
      if (!turn) {
        turn = document.createElement("article");
        turn.id = `turn-${id}`;
        turn.className = "turn";
        log.append(turn);
      }
      if (turns[id] !== undefined) update(turn, turns[id]);
    }
  }

  function update(element, html) {
    if (!element) return;
    if (element instanceof SVGElement) {
      element.innerHTML = html;
      return;
    }
    const next = document.createElement("div");
    next.innerHTML = html;
    morph(element, next);
  }

  // Changes only what differs, so that bars glide, focus stays and what was unfolded stays so.
  function morph(from, to) {
    const before = [...from.childNodes];
    const after = [...to.childNodes];
    after.forEach((node, i) => {
      const old = before[i];
      if (!old) from.append(node);
      else if (old.nodeName !== node.nodeName) old.replaceWith(node);
      else if (old.nodeType === Node.TEXT_NODE) {
        if (old.data !== node.data) old.data = node.data;
      } else {
        dress(old, node);
        morph(old, node);
      }
    });
    before.slice(after.length).forEach((node) => node.remove());
  }

  function dress(old, node) {
    const keeps = (name) => name === "data-touched" || (name === "open" && "touched" in old.dataset);
    for (const { name, value } of [...node.attributes]) {
      if (!keeps(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      if (!keeps(name) && !node.hasAttribute(name)) old.removeAttribute(name);
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-switch], [data-emotion]");
    const summary = event.target.closest("summary");
    if (summary) summary.parentElement.dataset.touched = "";
    if (button?.dataset.switch) {
      wake();
      const on = button.getAttribute("aria-checked") !== "true";
      order({ kind: "switch", channel: button.dataset.switch, on });
    } else if (button?.dataset.emotion) {
      const { turn, emotion } = button.dataset;
      order({ kind: "correct", turn: Number(turn), emotion });
    }
  });

  // -- devices ---------------------------------------------------------------------------------

  // Sound's own clock gives the time of pictures too; it may only start while a click is handled.
  function wake() {
    context ??= new AudioContext({ sampleRate: 16000 });
    context.resume();
  }

  const nowS = () => contextStartS + (context?.currentTime ?? 0);

  // Some browsers take sound only at the device's own rate; the clock goes on where it was.
  function sourceOf(stream) {
    try {
      return context.createMediaStreamSource(stream);
    } catch (error) {
      if (error.name !== "NotSupportedError") throw error;
      contextStartS = nowS();
      context.close();
      context = new AudioContext();
      return context.createMediaStreamSource(stream);
    }
  }

  async function follow(channel) {
    if (!wanted[channel]) return release(channel);
    if (streams[channel]) return;
    streams[channel] = "opening";
    try {
      const stream = await navigator.mediaDevices.getUserMedia(
        channel === "camera"
          ? { video: { width: { ideal: MOST_WIDTH }, height: { ideal: MOST_HEIGHT } } }
          : { audio: { channelCount: 1 } },
      );
      streams[channel] = stream;
      if (!wanted[channel]) return release(channel);
      stream.getTracks()[0].onended = () => refuse(channel, "failed");
      await (channel === "camera" ? look(stream) : listen(stream));
    } catch (error) {
      const problem = { NotAllowedError: "denied", NotFoundError: "missing" }[error.name];
      refuse(channel, problem ?? "failed");
    }
  }

  function refuse(channel, problem) {
    release(channel);
    wanted[channel] = false;
    order({ kind: "switch", channel, on: false, problem });
  }

  function release(channel) {
    const stream = streams[channel];
    if (!stream || stream === "opening") return;
    stream.getTracks().forEach((track) => {
      track.onended = null;
      track.stop();
    });
    streams[channel] = null;
    if (channel === "camera" && byId("camera")) byId("camera").srcObject = null;
  }

  function close() {
    wanted.camera = wanted.microphone = false;
    release("camera");
    release("microphone");
  }

  async function listen(stream) {
    wake();
    const source = sourceOf(stream);
    await context.audioWorklet.addModule(new URL("attune/worklet.js", document.baseURI));
    const pieces = new AudioWorkletNode(context, "pieces", {
      numberOfOutputs: 0,
      channelCount: 1,
      channelCountMode: "explicit",
    });
    pieces.port.onmessage = ({ data }) => {
      if (wanted.microphone) sendMedia(SOUND, contextStartS + data.timeS, data.pcm, data.rateHz);
    };
    source.connect(pieces);
    stream.getTracks()[0].addEventListener("ended", () => source.disconnect());
  }

  async function look(stream) {
    wake();
    const video = byId("camera");
    video.srcObject = stream;
    await video.play();
    const scale = Math.min(MOST_WIDTH / video.videoWidth, MOST_HEIGHT / video.videoHeight, 1);
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    const overlay = byId("overlay");
    overlay.setAttribute("viewBox", `0 0 ${canvas.width} ${canvas.height}`);
    overlay.setAttribute("preserveAspectRatio", "xMidYMid slice");
  }

  // Pictures are left out where the way is slow; sound never is.
  setInterval(() => {
    const video = byId("camera");
    const busy = encoding || (socket?.bufferedAmount ?? 0) > MOST_WAITING_BYTES;
    if (!wanted.camera || !video?.srcObject || video.readyState < 2 || busy) return;
    const timeS = nowS();
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
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

  return { connect, wake };
})();
window.attune = attune;
