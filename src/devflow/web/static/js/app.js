// On every page: htmx, times that stay true, copy buttons, menus that close, the theme without a reload.

import "htmx.org";
import { tick } from "./lib/time.js";

tick();
setInterval(() => document.hidden || tick(), 1000);
document.addEventListener("htmx:after:swap", tick);

document.addEventListener("click", (event) => {
  closeMenus(event.target);
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const open = document.querySelector("details.dropmenu[open]");
  open?.removeAttribute("open");
  open?.querySelector("summary").focus();
});

document.addEventListener("submit", (event) => {
  if (event.target.matches("[data-theme-form]")) switchTheme(event);
  else lockSubmit(event);
});

function closeMenus(target) {
  for (const menu of document.querySelectorAll("details.dropmenu[open]")) {
    if (!menu.contains(target)) menu.removeAttribute("open");
  }
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  await navigator.clipboard.writeText(source.textContent.trim());
  const label = button.querySelector("[data-label]");
  const before = label.textContent;
  label.textContent = "Copied";
  setTimeout(() => (label.textContent = before), 1500);
}

/** The server keeps the choice in a cookie; the page changes at once. */
function switchTheme(event) {
  event.preventDefault();
  const theme = event.submitter.value;
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  for (const button of event.target.querySelectorAll("button")) button.setAttribute("aria-pressed", button === event.submitter);
  const body = new FormData(event.target);
  body.set("theme", theme);
  fetch(event.target.action, { method: "POST", body, redirect: "manual" });
}

/** A form that is on its way is not sent a second time. */
function lockSubmit(event) {
  if (event.defaultPrevented || event.target.method !== "post") return;
  setTimeout(() => {
    for (const button of event.target.querySelectorAll("button[type=submit], button:not([type])")) button.disabled = true;
  });
}

// Coming back by the browser's history: buttons must work again.
addEventListener("pageshow", (event) => {
  if (event.persisted) for (const button of document.querySelectorAll("form button:disabled")) button.disabled = false;
});
