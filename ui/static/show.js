// What the server wants shown goes where it belongs, and only what differs is touched.
import { update } from "./morph.js";

const NEAR_END_PX = 160;

const byId = (id) => document.getElementById(id);

export function show(change) {
  const page = document.documentElement;
  const atEnd = innerHeight + scrollY > page.scrollHeight - NEAR_END_PX;
  const isNew = change.order.some((id) => !byId(`turn-${id}`));
  if (document.body.dataset.screen !== change.screen) scrollTo(0, 0); // the next one begins there
  document.body.dataset.screen = change.screen;
  document.body.toggleAttribute("data-answering", change.answering);
  showTurns(change); // first: fragments may belong into a turn
  for (const [id, html] of Object.entries(change.fragments)) update(byId(id), html);
  byId("picture")?.toggleAttribute("data-off", !change.devices.camera);
  if (isNew) toEnd(document.querySelector("#so-far .scroller"));
  if (isNew || (atEnd && (Object.keys(change.turns).length || change.fragments.hearing))) {
    toEnd(page);
  }
}

function toEnd(element) {
  element?.scrollTo({ top: element.scrollHeight, left: element.scrollWidth, behavior: "smooth" });
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
