// The palette: Ctrl/⌘ K. What it finds comes from the server, which checks rights; where one was is remembered here.

import { setTheme } from "./theme.js";

const WAIT_MS = 90;
const MOST_RECENT = 6;
const REMEMBERED = /^\/(projects|servers|clusters|deployments|channels)\/.+/;

const palette = document.getElementById("palette");
const isMac = /Mac|iPhone|iPad/.test(navigator.platform);

export function startPalette() {
  if (!palette) return;
  if (isMac) for (const key of document.querySelectorAll("[data-palette-key]")) key.textContent = "⌘ K";
  remember();
  const field = palette.querySelector("input");
  let typing = 0;
  field.addEventListener("input", () => {
    clearTimeout(typing);
    asked++; // what is on its way was for other words
    choose(null);
    typing = setTimeout(ask, WAIT_MS);
  });
  palette.addEventListener("keydown", onKey);
  palette.addEventListener("click", (event) => {
    if (event.target === palette) palette.close(); // beside it
    const hit = event.target.closest(".hit");
    if (hit) go(hit, event);
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-palette-open]") || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    openPalette();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || !(isMac ? event.metaKey : event.ctrlKey) || event.altKey || event.shiftKey) return;
    event.preventDefault();
    if (palette.open) palette.close();
    else openPalette();
  });
}

export function openPalette() {
  if (!palette || palette.open) return;
  palette.querySelector("input").value = "";
  palette.showModal();
  ask();
}

let asked = 0;

async function ask() {
  const number = ++asked;
  const field = palette.querySelector("input");
  const query = field.value.trim();
  const recent = query ? [] : [{ title: palette.querySelector("template").dataset.recentTitle, hits: recentPages() }];
  if (!query && !palette.querySelector(".hit")) show(recent, "");
  try {
    const answer = await fetch(`${palette.dataset.source}?q=${encodeURIComponent(query)}`, { headers: { "HX-Request": "true" } });
    if (answer.status === 401) return location.reload();
    const { groups } = await answer.json();
    if (number === asked) show([...recent, ...groups], query ? "nothing" : "");
  } catch {
    if (number === asked) show(recent, "failed");
  }
}

function show(groups, otherwise) {
  const list = palette.querySelector(".found");
  const shown = groups.filter((group) => group.hits.length).map(drawGroup);
  list.replaceChildren(...shown);
  const note = palette.querySelector(".nothing");
  note.hidden = shown.length > 0 || !otherwise;
  note.textContent = otherwise ? note.dataset[otherwise] : "";
  choose(list.querySelector(".hit"));
}

function drawGroup(group, number) {
  const box = document.createElement("div");
  const title = document.createElement("div");
  title.className = "group";
  title.id = `palette-group-${number}`;
  title.textContent = group.title;
  box.setAttribute("role", "group");
  box.setAttribute("aria-labelledby", title.id);
  box.append(title, ...group.hits.map((hit, place) => drawHit(hit, `palette-${number}-${place}`)));
  return box;
}

function drawHit(hit, id) {
  const line = document.createElement("a");
  line.className = "hit";
  line.id = id;
  line.tabIndex = -1;
  line.setAttribute("role", "option");
  line.setAttribute("aria-selected", "false");
  if (hit.href) line.href = hit.href;
  if (hit.theme) line.dataset.theme = hit.theme;
  const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  icon.setAttribute("class", "icon");
  icon.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${hit.icon}`);
  icon.append(use);
  line.append(icon, text("title", hit.title), text("about", hit.about));
  return line;
}

function text(name, words) {
  const part = document.createElement("span");
  part.className = name;
  part.textContent = words;
  return part;
}

function onKey(event) {
  if (event.isComposing) return;
  const hits = [...palette.querySelectorAll(".hit")];
  const at = hits.findIndex((hit) => hit.getAttribute("aria-selected") === "true");
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (by && hits.length) {
    event.preventDefault();
    choose(hits[(at + by + hits.length) % hits.length]);
  } else if (event.key === "Enter" && hits[at]) {
    event.preventDefault();
    go(hits[at], event);
  }
}

function choose(hit) {
  const field = palette.querySelector("input");
  palette.querySelector("[aria-selected=true]")?.setAttribute("aria-selected", "false");
  if (!hit) return field.removeAttribute("aria-activedescendant");
  hit.setAttribute("aria-selected", "true");
  field.setAttribute("aria-activedescendant", hit.id);
  hit.scrollIntoView({ block: "nearest" });
}

function go(hit, event) {
  if (event.type === "click" && (event.ctrlKey || event.metaKey)) return; // the browser opens it beside
  event.preventDefault();
  palette.close();
  if (hit.dataset.theme) setTheme(hit.dataset.theme);
  else if (event.ctrlKey || event.metaKey) window.open(hit.href, "_blank", "noopener");
  else location.assign(hit.href);
}

// --- where one was -------------------------------------------------------------------------------------------------

function key() {
  return `recent:${document.body.dataset.person}`;
}

function recentPages() {
  try {
    return JSON.parse(localStorage.getItem(key()) ?? "[]").filter((page) => page.href !== location.pathname);
  } catch {
    return [];
  }
}

function remember() {
  if (!REMEMBERED.test(location.pathname)) return;
  const title = document.title.replace(/^[●✕] /, "").replace(/ · DevFlow Pro$/, "");
  const icon = { servers: "server", deployments: "deploy", clusters: "box", channels: "bell" }[location.pathname.split("/")[1]] ?? "project";
  const pages = [{ title, about: "", href: location.pathname, icon }, ...recentPages()];
  try {
    localStorage.setItem(key(), JSON.stringify(pages.slice(0, MOST_RECENT)));
  } catch {
    // a browser that keeps nothing
  }
}
