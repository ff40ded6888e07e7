// The service worker, and pages that it kept: they say from when they are, nothing can be sent from them, and they are
// loaded anew as soon as the panel answers.

import { renew } from "./device.js";
import { ago } from "./time.js";

const LOOK_MS = 5000; // then twice as long after each time that loading anew brought nothing newer
const MOST_DOUBLED = 4;
const TRIES = "devflow-loaded-anew";
const { kept, person } = document.body.dataset;

export function startOffline() {
  if (kept) showAge();
  else sessionStorage.removeItem(TRIES);
  if (document.getElementById("kept-pages")) showKept();
  if (!navigator.serviceWorker) return;
  document.addEventListener("devflow:ended", () => forget());
  if (kept || !person) return void renew().catch(() => {});
  addEventListener("load", () => setTimeout(register, 1000)); // not while the page itself is loading
}

/** What was kept of pages goes: the session has ended. */
export function forget() {
  navigator.serviceWorker?.controller?.postMessage("forget");
}

async function register() {
  try {
    await navigator.serviceWorker.register("/service-worker.js", { updateViaCache: "none" });
    await renew();
  } catch {
    // without it the panel works as well, while there is a network
  }
}

function showAge() {
  const at = new Date(kept);
  const time = new Intl.DateTimeFormat(document.documentElement.lang, isToday(at) ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" });
  const sign = document.createElement("p");
  sign.className = "kept-sign";
  sign.setAttribute("role", "status");
  document.body.prepend(sign);
  const { content: text, dataset } = document.querySelector("meta[name=devflow-kept]");
  const log = document.getElementById("log");
  log?.before(Object.assign(document.createElement("p"), { className: "note", textContent: dataset.log }));
  const tell = () => {
    sign.textContent = text.replace("{time}", time.format(at)).replace("{ago}", ago((Date.now() - at) / 1000));
  };
  tell();
  setTimeout(() => (sign.ariaLive = "off"), 5000); // said once, not every minute
  setInterval(tell, 10_000);
  for (const form of document.querySelectorAll("form[method=post]")) {
    for (const button of form.querySelectorAll("button:not([type=button])")) button.disabled = true;
  }
  addEventListener("online", comeBack);
  setInterval(comeBack, LOOK_MS * 2 ** Math.min(tries(), MOST_DOUBLED));
}

/** Which pages can be shown, where the one that was asked for cannot. */
async function showKept() {
  const names = (await caches.keys()).filter((name) => name.startsWith("devflow-pages-"));
  const found = [];
  for (const name of names) {
    const cache = await caches.open(name);
    for (const { url } of await cache.keys()) found.push({ url, text: await (await cache.match(url)).text() });
  }
  const list = document.getElementById("kept-pages");
  for (const { url, text } of found.reverse()) {
    const link = Object.assign(document.createElement("a"), { href: url });
    link.textContent = new DOMParser().parseFromString(text, "text/html").title.replace(/ · DevFlow Pro$/, "");
    list.querySelector("ul").appendChild(document.createElement("li")).append(link);
  }
  list.hidden = !found.length;
  addEventListener("online", comeBack);
}

async function comeBack() {
  if (document.hidden) return;
  const answer = await fetch("/healthz", { cache: "no-store" }).catch(() => undefined);
  if (!answer?.ok) return;
  sessionStorage.setItem(TRIES, String(tries() + 1));
  location.reload();
}

function tries() {
  return Number(sessionStorage.getItem(TRIES) ?? 0);
}

function isToday(at) {
  return at.toDateString() === new Date().toDateString();
}
