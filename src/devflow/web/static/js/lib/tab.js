// What the browser's tab says: title and icon while a deployment runs or after one failed.

const icon = document.querySelector("link[rel=icon]");
const title = document.title;
const MARKS = { running: "● ", failed: "✕ ", idle: "" };

/** state: idle, running or failed. */
export function showInTab(state, text = title) {
  document.title = MARKS[state] + text;
  const wanted = icon?.dataset[state];
  if (wanted && icon.getAttribute("href") !== wanted) icon.setAttribute("href", wanted);
}
