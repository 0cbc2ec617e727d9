// One socket carries pictures, sound and orders to the server, and what is to be shown back.
export const PICTURE = 1;
export const SOUND = 2;

const GONE = 4404;
const ELSEWHERE = 4409; // a copy of this tab has taken the talk over
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 8000;
const MOST_WAITING_BYTES = 200_000;

let socket = null;
let originS = 0;
let retryMs = FIRST_RETRY_MS;

const isOpen = () => socket?.readyState === WebSocket.OPEN;

export const isSlow = () => (socket?.bufferedAmount ?? 0) > MOST_WAITING_BYTES;

export function connect(token, { nowS, onChange, onLost }) {
  const url = new URL(`media/${token}`, document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    retryMs = FIRST_RETRY_MS;
    originS = nowS(); // the server goes on from where the last connection ended
    say(null);
  };
  socket.onmessage = (event) => onChange(JSON.parse(event.data));
  socket.onclose = (event) => {
    const end = { [GONE]: "gone", [ELSEWHERE]: "elsewhere" }[event.code];
    say(end ?? "trying");
    onLost(end);
    if (end) return;
    setTimeout(() => connect(token, { nowS, onChange, onLost }), retryMs);
    retryMs = Math.min(retryMs * 2, LAST_RETRY_MS);
  };
}

function say(problem) {
  const place = document.getElementById("lost");
  place.hidden = problem === null;
  place.textContent = problem === null ? "" : place.dataset[problem];
}

export function order(what) {
  if (isOpen()) socket.send(JSON.stringify(what));
}

// A header of 16 bytes, little-endian, then the payload; see ui/media.py.
export function sendMedia(kind, timeS, payload, rateHz = 0) {
  if (!isOpen() || timeS < originS) return;
  const message = new Uint8Array(16 + payload.byteLength);
  const header = new DataView(message.buffer);
  header.setUint8(0, kind);
  header.setUint32(4, rateHz, true);
  header.setFloat64(8, timeS - originS, true);
  message.set(new Uint8Array(payload), 16);
  socket.send(message);
}
