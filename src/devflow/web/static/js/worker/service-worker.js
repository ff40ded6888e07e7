// The service worker: built files from the cache, pages from the network, and what a page last said where there is none.
//
// It answers two kinds of requests only: built files (their names carry the hash of their content) and addresses that are
// opened. Streams, parts of pages, what scripts ask for and everything that is sent pass it by.
//
// A page is kept when the panel says so in X-DevFlow-Keep (web/offline.py), which names a person in a team. Pages of one
// name are kept at a time. They are forgotten when somebody logs out, changes the team, or is asked to log in.

/* global BADGE, BUILT, ICON, SHELL, VERSION: from build.mjs */

const PREFIX = "devflow-";
const FILES = `${PREFIX}files-${VERSION}`;
const PAGES = `${PREFIX}pages-${VERSION}-`;
const BUILD = "/static/build/";
const OFFLINE = "/offline/";
const LOGIN = "/accounts/login/";
const FORGETTING = ["/accounts/logout/", "/team/switch/"];
const KEEPER = "x-devflow-keep";
const KEPT_AT = "x-devflow-kept-at";
const MOST_PAGES = 40;
const LONGEST_MS = 7 * 24 * 3600 * 1000;
const PATIENCE_MS = 4000; // then what was last known is shown, while the panel is still asked

let era = 0; // how often everything was forgotten: what was asked for before is not kept after

addEventListener("install", (event) => {
  event.waitUntil(install().then(() => skipWaiting()));
});

addEventListener("activate", (event) => {
  event.waitUntil(activate());
});

addEventListener("message", (event) => {
  if (event.data === "forget") event.waitUntil(forget());
});

addEventListener("fetch", (event) => {
  const { request } = event;
  const address = new URL(request.url);
  if (address.origin !== location.origin) return;
  if (request.method !== "GET") {
    if (FORGETTING.includes(address.pathname)) event.waitUntil(forget());
    return;
  }
  const name = address.pathname.startsWith(BUILD) ? address.pathname.slice(BUILD.length) : "";
  if (name && BUILT.includes(name)) event.respondWith(builtFile(request));
  else if (request.mode === "navigate") event.respondWith(page(event, address));
});

// --- built files -----------------------------------------------------------------------------------------------------

async function install() {
  const cache = await caches.open(FILES);
  await cache.addAll(SHELL.map((name) => BUILD + name));
  const offline = await fetch(OFFLINE, { cache: "no-store", credentials: "same-origin" });
  if (!offline.ok) throw new Error(`${OFFLINE} answered ${offline.status}`);
  await cache.put(OFFLINE, offline);
}

/** What an older version of the panel left goes: its pages need files that are not there any more. */
async function activate() {
  await registration.navigationPreload?.enable();
  for (const name of await caches.keys()) {
    if (name.startsWith(PREFIX) && name !== FILES && !name.startsWith(PAGES)) await caches.delete(name);
  }
  await clients.claim();
}

async function builtFile(request) {
  const cache = await caches.open(FILES);
  const known = await cache.match(request.url);
  if (known) return known;
  const answer = await fetch(request);
  if (answer.status === 200) await cache.put(request.url, answer.clone()).catch(() => {}); // a full disk is no reason
  return answer;
}

// --- pages -----------------------------------------------------------------------------------------------------------

async function page(event, address) {
  const begun = era;
  const asked = ask(event).then((answer) => {
    event.waitUntil(look(answer, address, begun).catch(() => {}));
    return answer;
  });
  const slow = after(PATIENCE_MS).then(() => lastKnown(address));
  try {
    return (await Promise.race([asked, slow])) ?? (await asked);
  } catch {
    return (await lastKnown(address)) ?? (await caches.match(OFFLINE)) ?? Response.error();
  }
}

async function ask(event) {
  return (await event.preloadResponse) ?? fetch(event.request);
}

/** What the answer says of what is kept. Only of what is kept there is a second copy: a download may be large. */
async function look(answer, address, begun) {
  const isPage = answer.headers.get("content-type")?.startsWith("text/html");
  if (answer.status === 401 || (answer.status === 200 && isPage && address.pathname === LOGIN)) return forget();
  if (answer.status === 403 || answer.status === 404 || answer.status === 410) return drop(address);
  const keeper = answer.headers.get(KEEPER);
  if (answer.status === 200 && isPage && keeper && !answer.redirected) await keep(answer.clone(), address, keeper, begun);
}

async function keep(answer, address, keeper, begun) {
  const text = withoutTokens(await answer.text());
  if (era !== begun) return;
  const own = PAGES + keeper;
  for (const name of await pageCaches()) if (name !== own) await caches.delete(name);
  const headers = new Headers(answer.headers);
  for (const name of ["content-encoding", "content-length", "set-cookie", KEEPER]) headers.delete(name);
  headers.set(KEPT_AT, String(Date.now()));
  const cache = await caches.open(own);
  await cache.put(key(address), new Response(text, { headers }));
  if (era !== begun) return forget(); // somebody logged out meanwhile
  const keys = await cache.keys();
  for (const old of keys.slice(0, Math.max(0, keys.length - MOST_PAGES))) await cache.delete(old);
}

/** The page as it was, which says so: as of when; undefined for one that was never seen, or too long ago. */
async function lastKnown(address) {
  for (const name of await pageCaches()) {
    const known = await (await caches.open(name)).match(key(address));
    if (!known) continue;
    const at = Number(known.headers.get(KEPT_AT));
    if (!(Date.now() - at < LONGEST_MS)) return drop(address);
    return new Response(asOf(await known.text(), at), { headers: known.headers });
  }
}

/** Its clock goes on, while what was running stands still; it asks for no news by itself. */
function asOf(text, at) {
  const age = Date.now() - at;
  return text
    .replace(/<body\b[^>]*>/, (body) =>
      body
        .replace("<body", `<body data-kept="${new Date(at).toISOString()}"`)
        .replace(/ data-now="([^"]+)"/, (_, now) => ` data-now="${new Date(Date.parse(now) + age).toISOString()}"`)
        .replace(/ data-(events|mark)="[^"]*"/g, ""),
    )
    .replaceAll(" data-elapsed-since=", " data-elapsed-then=");
}

/** Tokens of forms are the session's: they are not kept, and nothing can be sent from a page that is not up to date. */
function withoutTokens(text) {
  return text.replace(/(name="csrfmiddlewaretoken" value=")[^"]*/g, "$1");
}

async function drop(address) {
  for (const name of await pageCaches()) await (await caches.open(name)).delete(key(address));
}

async function forget() {
  era += 1;
  for (const name of await pageCaches()) await caches.delete(name);
}

async function pageCaches() {
  return (await caches.keys()).filter((name) => name.startsWith(PAGES));
}

function key(address) {
  return address.origin + address.pathname + address.search;
}

function after(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

// --- notifications ---------------------------------------------------------------------------------------------------

addEventListener("push", (event) => {
  event.waitUntil(notify(event.data));
});

addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data?.url));
});

/** A browser wants that something is shown for every message, also for one that cannot be read. */
async function notify(data) {
  let told = {};
  try {
    told = data.json() ?? {};
  } catch {
    // nothing that the panel sends
  }
  const { title = "DevFlow Pro", body = "", url = "/", tag = "" } = told;
  const options = { body: String(body), icon: ICON, badge: BADGE, data: { url: String(url) } };
  if (tag) Object.assign(options, { tag: String(tag), renotify: true });
  await registration.showNotification(String(title), options);
}

/** Only ever at an address of the panel; in a window of its own, since in another one somebody may be typing. */
async function open(url) {
  const target = new URL(typeof url === "string" ? url : "/", location.origin);
  const address = target.origin === location.origin ? target.href : `${location.origin}/`;
  const windows = await clients.matchAll({ type: "window", includeUncontrolled: true });
  const shown = windows.find((each) => each.url === address);
  if (shown) return shown.focus();
  return clients.openWindow(address).catch(() => windows[0]?.navigate(address)); // some browsers open none
}
