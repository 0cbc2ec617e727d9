// The browser's half of the page: devices in, fragments out. The server decides what is shown and
// which device runs. Nothing that was said or seen is stored here; a tab remembers its own token,
// so that a reload comes back to the talk.
import { follow, nowS, release, wake } from "./devices.js";
import { show } from "./show.js";
import * as socket from "./socket.js";
import * as voice from "./voice.js";
import { listen } from "./actions.js";

const REMEMBERED = "attune.token";

function connect(token) {
  if (!token) return;
  if (!document.getElementById("turns")) {
    requestAnimationFrame(() => connect(token)); // Gradio has not drawn the page yet
    return;
  }
  sessionStorage.setItem(REMEMBERED, token);
  listen(token);
  voice.begin();
  socket.connect(token, {
    nowS,
    onChange(change) {
      show(change);
      follow(change.devices);
      voice.follow(change);
    },
    onLost(end) {
      voice.hush();
      if (end === "gone") sessionStorage.removeItem(REMEMBERED);
      if (end) release();
    },
  });
}

export { connect, wake };
