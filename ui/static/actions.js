// What a person can do on the page itself: switch, correct, edit, save, look back.
import { wake } from "./devices.js";
import { order } from "./socket.js";
import * as voice from "./voice.js";

let token = "";

export function listen(given) {
  if (!token) {
    document.addEventListener("click", onClick);
    document.addEventListener("submit", onSubmit);
    document.addEventListener("keydown", onKey);
  }
  token = given;
}

const CLICKS = [
  ["[data-switch]", toggle],
  ["[data-emotion]", correct],
  ["[data-goto]", goTo],
  ["[data-save]", save],
  ["[data-cancel]", (button) => fold(button.closest("details"))],
  ["#aloud", (button) => voice.turn(button.getAttribute("aria-checked") !== "true")],
  ["#unfold", unfold],
  ["#stop", () => voice.hush()],
  ["#forget", () => voice.hush()],
  ["summary", touch],
];

function onClick({ target }) {
  const menu = document.querySelector("details.save[open]");
  if (menu && !menu.contains(target)) menu.open = false;
  for (const [selector, act] of CLICKS) {
    const found = target.closest(selector);
    if (found) act(found);
  }
}

function toggle(button) {
  wake();
  const on = button.getAttribute("aria-checked") !== "true";
  order({ kind: "switch", channel: button.dataset.switch, on });
}

function correct({ dataset: { turn, emotion } }) {
  order({ kind: "correct", turn: Number(turn), emotion });
}

function goTo({ dataset: { goto: turn } }) {
  const place = document.getElementById(`turn-${turn}`);
  place?.scrollIntoView({ block: "center", behavior: "smooth" });
  place?.classList.remove("shown");
  requestAnimationFrame(() => place?.classList.add("shown"));
}

function unfold(button) {
  const open = document.getElementById("stage").toggleAttribute("data-unfolded");
  button.setAttribute("aria-expanded", open);
}

// What a person has folded or unfolded stays so.
function touch(summary) {
  const details = summary.parentElement;
  details.dataset.touched = "";
  if (!details.matches(".edit") || details.open) return;
  const field = details.querySelector("textarea");
  requestAnimationFrame(() => {
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  });
}

function fold(details) {
  delete details.dataset.touched;
  details.open = false;
  const field = details.querySelector("textarea");
  if (field) field.value = field.defaultValue;
  details.querySelector("summary")?.focus();
}

function onSubmit(event) {
  const turn = event.target.dataset.edit;
  if (turn === undefined) return;
  event.preventDefault();
  const field = event.target.querySelector("textarea");
  const text = field.value.trim();
  if (text && text !== field.defaultValue.trim()) order({ kind: "edit", turn: Number(turn), text });
  fold(event.target.closest("details"));
}

function onKey(event) {
  const form = event.target.closest?.("[data-edit]");
  if (form && event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    form.requestSubmit();
  } else if (event.key === "Escape") {
    const open = event.target.closest?.("details.edit, details.save, details.correct");
    if (open) fold(open);
    else voice.hush();
  }
}

// The talk goes from the server's memory into a file of the person's choice, and nowhere else.
async function save(button) {
  const form = button.dataset.save;
  const address = new URL(`attune-export/${token}/${form}`, document.baseURI);
  const answer = await fetch(address, { method: "POST", cache: "no-store" }).catch(() => null);
  const details = button.closest("details");
  details.toggleAttribute("data-failed", !answer?.ok);
  if (!answer?.ok) return;
  const given = answer.headers.get("content-disposition") ?? "";
  const link = document.createElement("a");
  link.download = given.match(/filename="?([\w.-]+)"?/)?.[1] ?? `attune-talk.${EXTENSIONS[form]}`;
  link.href = URL.createObjectURL(await answer.blob());
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  fold(details);
}

const EXTENSIONS = { json: "json", text: "txt" };
