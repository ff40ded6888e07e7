// On every page: htmx, times that stay true, the stream of changes, the palette, keys, forms, results, menus, the theme.

import "htmx.org";
import { startCopying } from "./lib/copying.js";
import { startForms } from "./lib/forms.js";
import { startKeys } from "./lib/keys.js";
import { startLive } from "./lib/live.js";
import { startPalette } from "./lib/palette.js";
import { setTheme } from "./lib/theme.js";
import { tick } from "./lib/time.js";
import { startToasts } from "./lib/toasts.js";

tick();
setInterval(() => document.hidden || tick(), 1000);
document.addEventListener("htmx:after:swap", tick);

startForms();
startToasts();
startCopying();
startPalette();
startKeys();
startLive();

// What is fetched when a part is unfolded.
document.addEventListener("toggle", (event) => event.target.open && event.target.querySelector?.("[data-on-open]")?.click(), true);

// Of tabs that do not fit, the current one is in view.
document.querySelector(".tabs-line [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center", behavior: "instant" });

document.addEventListener("click", (event) => closeMenus(event.target));

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const open = document.querySelector("details.dropmenu[open]");
  open?.removeAttribute("open");
  open?.querySelector("summary").focus();
});

document.addEventListener(
  "submit",
  (event) => {
    if (!event.target.matches("[data-theme-form]")) return;
    event.preventDefault();
    setTheme(event.submitter.value);
  },
  true,
);

function closeMenus(target) {
  for (const menu of document.querySelectorAll("details.dropmenu[open]")) {
    if (!menu.contains(target)) menu.removeAttribute("open");
  }
}
