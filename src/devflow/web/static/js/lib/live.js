// The tab's one stream of changes (/events). Parts of the page that name a topic which is told of are asked for again:
//   <section id="board" data-live="deployment server" data-refresh="/board/">
// Without data-refresh the page itself is asked for, and the part with the same id is taken out of it.

import htmx from "htmx.org";
import { isTyped } from "./forms.js";

const SILENCE_MS = 40_000; // the server says something every 15 s
const WAITS_MS = [300, 1000, 2000, 5000, 10_000];
const SHOWN_AFTER_MS = 1500; // a restart of the panel is not worth a word
const GATHER_MS = 80;
const IN_USE_MS = 1000;
const REST_MS = 700; // between two refreshes of the same part
const BEAT_MS = 500; // how exactly data-every is kept

const { events, mark } = document.body.dataset;
const sign = document.getElementById("connection");
const others = new BroadcastChannel("devflow-events");

let last = mark;
let stopping = null; // ends the open stream
let heard = 0;
let failures = 0;
let waiting = 0;
let showing = 0;
let state = "off"; // off, opening, open, paused, ended

export function startLive() {
  setInterval(beat, BEAT_MS);
  document.addEventListener("htmx:response:error", (event) => event.detail.ctx.response.status === 404 && gone(event.detail.ctx.target));
  if (!events) return;
  if (document.hidden) stop("paused");
  else open();
  setInterval(look, 5000);
  addEventListener("online", () => reopen());
  addEventListener("offline", () => cut());
  addEventListener("pageshow", (event) => event.persisted && reopen());
  addEventListener("pagehide", () => stop("paused"));
  document.addEventListener("visibilitychange", look);
  // Browsers allow six connections to a host: a tab that nobody sees gives way to one that is opened.
  others.addEventListener("message", () => document.hidden && stop("paused"));
  document.addEventListener("htmx:before:swap", (event) => keep(event, event.detail.ctx.target));
}

/** A laptop that slept, a connection that died without a word: found out when the tab is seen, or by the silence. */
function look() {
  if (state === "paused" && !document.hidden) reopen();
  else if (state === "open" && Date.now() - heard > SILENCE_MS) reopen();
}

function reopen() {
  if (state === "ended") return;
  if (document.hidden) return stop("paused");
  stop("off");
  failures = 0;
  open();
}

function stop(as) {
  if (state === "ended") return;
  clearTimeout(waiting);
  stopping?.abort();
  stopping = null;
  state = as;
}

async function open() {
  clearTimeout(waiting);
  state = "opening";
  const abort = (stopping = new AbortController());
  later();
  try {
    const headers = last ? { "Last-Event-ID": last } : {};
    const answer = await fetch(events, { headers, signal: abort.signal, cache: "no-store" });
    if (answer.status === 401 || answer.status === 403) return end();
    if (answer.status === 422) last = "";
    if (!answer.ok) throw new Error(`answered ${answer.status}`);
    state = "open";
    heard = Date.now();
    failures = 0;
    show("");
    if (!document.hidden) others.postMessage("opened");
    await read(answer.body.pipeThrough(new TextDecoderStream()).getReader());
  } catch {
    // told below: the network, or the panel, is away
  }
  if (stopping === abort) cut();
}

async function read(reader) {
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    heard = Date.now();
    text += value;
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) take(part);
  }
}

/** One event: `id`, `event`, `data`, each on a line; a comment has none of them. */
function take(part) {
  const fields = Object.fromEntries(part.split("\n").map((line) => line.split(/: (.*)/s).slice(0, 2)));
  if (!fields.event) return;
  if (fields.event === "reset") refreshAll();
  else if (fields.event === "change") refresh(JSON.parse(fields.data).topics);
  last = fields.id;
}

function cut() {
  if (state === "ended" || state === "paused") return;
  stop("off");
  later();
  if (!navigator.onLine) return;
  const wait = WAITS_MS[Math.min(failures++, WAITS_MS.length - 1)];
  waiting = setTimeout(open, wait * (0.75 + Math.random() / 2));
}

function end() {
  state = "ended";
  show("ended");
}

/** Says that the stream is cut off, unless it is back soon. */
function later() {
  showing ||= setTimeout(() => state !== "open" && state !== "paused" && show(navigator.onLine ? "cut" : "offline"), SHOWN_AFTER_MS);
}

function show(how) {
  clearTimeout(showing);
  showing = 0;
  if (sign.dataset.state === how) return;
  sign.dataset.state = how;
  sign.classList.toggle("connection", Boolean(how));
  sign.textContent = how ? sign.dataset[how] : "";
}

// --- parts ---------------------------------------------------------------------------------------------------------

const due = new Map(); // id → the timer of its refresh
const out = new Set(); // ids of what is being asked for
const done = new Map(); // id → when it was refreshed last
const loaded = Date.now();

function refresh(topics) {
  if (!topics.length) return;
  const told = new Set(topics);
  for (const part of document.querySelectorAll("[data-live]")) {
    if (part.dataset.live.split(" ").some((topic) => told.has(topic))) plan(part.id);
  }
  document.dispatchEvent(new CustomEvent("devflow:change", { detail: { topics } }));
}

function refreshAll() {
  for (const part of document.querySelectorAll("[data-live]")) plan(part.id);
  document.dispatchEvent(new CustomEvent("devflow:change", { detail: { topics: [] } }));
}

/** Has a part asked for soon. */
export function plan(id, wait = GATHER_MS) {
  if (due.has(id)) return;
  const rest = (done.get(id) ?? 0) + REST_MS - Date.now();
  due.set(id, setTimeout(() => fetchPart(id), Math.max(wait, rest)));
}

async function fetchPart(id) {
  due.delete(id);
  const part = document.getElementById(id);
  if (!part) return;
  const asks = out.has(id) || part.hasAttribute("hx-get"); // what it is answered may be older than this change
  if (asks || inUse(part)) return plan(id, IN_USE_MS);
  out.add(id);
  const own = part.dataset.refresh;
  const select = `#${CSS.escape(id)}`;
  const address = own || location.pathname + location.search;
  try {
    await htmx.ajax("GET", address, { source: part, target: part, swap: "outerHTML", select }); // in no other's queue
  } finally {
    out.delete(id);
    done.set(id, Date.now());
  }
}

/** Parts that name a time are asked for when it has passed since they came. */
function beat() {
  if (document.hidden) return;
  for (const part of document.querySelectorAll("[data-every]")) {
    const came = done.get(part.id) ?? loaded;
    if (!out.has(part.id) && Date.now() - came >= part.dataset.every * 1000) plan(part.id, 0);
  }
}

/** What a part shows was removed: it stays as it is, and is not asked for any more. */
function gone(part) {
  if (!part?.id || !(part.dataset.live || part.dataset.every || part.hasAttribute("hx-get"))) return;
  const left = part.cloneNode(true); // without the timers of the old one
  for (const name of ["data-live", "data-every", "data-refresh", "hx-get", "hx-trigger"]) left.removeAttribute(name);
  const note = document.createElement("div");
  note.className = "note note-warning";
  note.setAttribute("role", "status");
  note.textContent = sign?.dataset.gone ?? "";
  left.prepend(note);
  part.replaceWith(left);
}

/** An answer that comes while somebody uses the part is thrown away: it is asked for again. */
function keep(event, part) {
  if (!part?.dataset?.live || !inUse(part)) return;
  event.preventDefault();
  plan(part.id, IN_USE_MS);
}

/** What somebody uses, or has typed something into, is not replaced under the hand. */
function inUse(part) {
  if (part.matches(":active") || isTyped(part)) return true;
  const focused = part.contains(document.activeElement) && document.activeElement.matches(":focus-visible, input, select, textarea");
  return focused || part.querySelector(":popover-open, details[open], dialog[open]") !== null;
}
