// The agent's voice: the browser's own synthesis, voices of this machine only.
//
// A browser cannot change how loud something is while it is spoken. So an answer is spoken sentence
// by sentence, and ducking holds the voice still: paused where the browser can, else ended, to go
// on later from the word it was at.
import { order } from "./socket.js";

const PAUSE_GRACE_MS = 60;
const BEGUN = "attune.aloud";

let chosen = null; // the voice, or null where there is none of this machine
let on = false;
let decided = false;
let answer = null; // newest of the server: {turn, answer, sentences, rate, pitch, ended}
let spoken = 0; // sentences of it that are done
let from = 0; // character of the sentence under way to go on from
let current = null; // utterance under way
let hushed = null; // the answer that is not to be spoken on
let ducked = false;
let speaking = false; // as the server knows it

const synthesis = () => window.speechSynthesis;
const button = () => document.getElementById("aloud");

export function begin() {
  choose();
  synthesis()?.addEventListener?.("voiceschanged", choose);
}

// The answers are in English; what comes first suits the person's own browser best.
function choose() {
  const local = (synthesis()?.getVoices() ?? []).filter((voice) => voice.localService);
  const english = local.filter((voice) => /^en\b/i.test(voice.lang.replace("_", "-")));
  const own = (voice) => navigator.languages.includes(voice.lang.replace("_", "-"));
  chosen = english.find((voice) => own(voice) && voice.default) ?? english.find(own) ??
    english.find((voice) => voice.default) ?? english[0] ?? null;
  draw();
}

function draw() {
  const active = on && chosen !== null;
  const place = button();
  if (!place) return;
  place.disabled = chosen === null;
  place.setAttribute("aria-checked", active);
  const state = !active ? "off" : ducked && speaking ? "ducked" : speaking ? "speaking" : "on";
  place.querySelector("b").textContent = place.dataset[state];
  document.getElementById("aloud-why").hidden = chosen !== null;
}

export function turn(wish) {
  sessionStorage.setItem(BEGUN, wish ? "on" : "off"); // the switch, not the talk
  on = wish;
  draw();
  hush(); // what was answered before the voice was switched on is not read out
}

export function follow(change) {
  if (!decided && change.screen === "talk") decide(change.devices.microphone);
  take(change.speech ?? null);
  if (answer && change.hushed_turn === answer.turn) hush();
  duck(Boolean(change.ducked));
  go();
}

// Who begins with the voice is answered by voice.
function decide(handsFree) {
  const before = sessionStorage.getItem(BEGUN);
  on = before === null ? handsFree : before === "on";
  decided = true;
  draw();
}

// The first answer that a page hears of may be an old one: it was spoken before the reload.
let isFirst = true;

function take(speech) {
  if (speech?.answer !== answer?.answer) {
    stop();
    spoken = isFirst && speech?.ended ? speech.sentences.length : 0;
  }
  answer = speech;
  isFirst = false;
}

function go() {
  if (!on || chosen === null || ducked || current) return;
  const isOver = answer === null || answer.answer === hushed;
  if (!isOver && spoken < answer.sentences.length) say(answer.sentences[spoken]);
  else if (isOver || answer.ended) tell(false);
}

function say(sentence) {
  const utterance = new SpeechSynthesisUtterance(sentence.slice(from));
  const start = from;
  Object.assign(utterance, {
    voice: chosen,
    lang: chosen.lang,
    rate: answer.rate,
    pitch: answer.pitch,
    onboundary: (event) => {
      if (event.name !== "sentence") from = start + event.charIndex;
    },
    onend: () => done(utterance),
    onerror: () => done(utterance),
  });
  current = utterance;
  tell(true);
  synthesis().speak(utterance);
}

function done(utterance) {
  if (utterance !== current) return; // it was ended here
  current = null;
  from = 0;
  spoken += 1;
  go();
}

function duck(down) {
  if (down === ducked) return;
  ducked = down;
  document.body.toggleAttribute("data-ducked", down);
  draw();
  if (!down) {
    synthesis()?.resume();
    return;
  }
  if (!current) return;
  synthesis().pause();
  const under = current;
  setTimeout(() => {
    if (ducked && current === under && !synthesis().paused) cancel(); // it goes on from `from`
  }, PAUSE_GRACE_MS);
}

// Ends the voice; the sentence under way may be gone on with.
function cancel() {
  current = null;
  synthesis()?.cancel();
  synthesis()?.resume(); // a synthesiser that was paused would keep silent for ever
}

function stop() {
  from = 0;
  if (current) cancel();
}

export function hush() {
  hushed = answer?.answer ?? null;
  stop();
  tell(false);
}

function tell(now) {
  if (now === speaking) return;
  speaking = now;
  document.body.toggleAttribute("data-speaking", now);
  draw();
  order({ kind: "spoke", on: now });
}

addEventListener("pagehide", () => synthesis()?.cancel());
