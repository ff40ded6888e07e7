// Single keys. They can be switched off (page Account); then only Ctrl K and Esc are left.

import { openPalette } from "./palette.js";

const SECOND_MS = 1200; // between the two keys of "g d"
const ROWS = "main [data-row], main .grid-table tbody tr";
const WITHIN = "a[href], button:not(:disabled)";

let first = 0; // when g was pressed

export function startKeys() {
  if (!("keys" in document.body.dataset)) return;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isTyped(event.target)) return;
    if (document.querySelector("dialog[open], :popover-open")) return;
    if (act(event.key)) event.preventDefault();
  });
  const keys = document.getElementById("keys");
  keys?.querySelector("[data-close]").addEventListener("click", () => keys.close());
  keys?.addEventListener("click", (event) => event.target === keys && keys.close());
}

function isTyped(element) {
  return element.closest?.("input, textarea, select, [contenteditable]");
}

function act(key) {
  const page = Date.now() - first < SECOND_MS && document.querySelector(`[data-go="${CSS.escape(key)}"]`);
  first = key === "g" ? Date.now() : 0;
  if (page) location.assign(page.href);
  else if (key === "j") return step(1);
  else if (key === "k") return step(-1);
  else if (key === "/") search();
  else if (key === "?") document.getElementById("keys")?.showModal();
  else return key === "g";
  return true;
}

function search() {
  const field = document.querySelector("main [data-search], main [data-log=query]");
  if (field) field.focus();
  else openPalette();
}

function step(by) {
  const rows = [...document.querySelectorAll(ROWS)].filter((row) => isSeen(row) && target(row));
  if (!rows.length) return false;
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  const next = at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by));
  target(rows[next]).focus({ focusVisible: true });
  rows[next].scrollIntoView({ block: "nearest" });
  return true;
}

function target(row) {
  return row.matches(WITHIN) ? row : row.querySelector(WITHIN);
}

function isSeen(row) {
  return row.checkVisibility?.() ?? true; // Safari before 17.4 does not know
}
