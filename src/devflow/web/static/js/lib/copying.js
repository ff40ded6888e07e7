// Copy buttons: data-copy names an element whose text is copied, data-copy-text holds the text itself.

import { gettext } from "./words.js";

const SHOWN_MS = 1500;

export function startCopying() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy], [data-copy-text]");
    if (button) copy(button);
  });
}

async function copy(button) {
  const text = button.dataset.copyText ?? document.getElementById(button.dataset.copy).textContent.trim();
  await navigator.clipboard.writeText(text);
  const label = button.querySelector("[data-label]");
  const before = label?.textContent;
  if (label) label.textContent = label.dataset.done ?? gettext("Copied");
  button.classList.add("is-done");
  setTimeout(() => {
    button.classList.remove("is-done");
    if (label) label.textContent = before;
  }, SHOWN_MS);
}
