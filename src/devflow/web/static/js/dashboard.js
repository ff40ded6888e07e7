// Keeps the dashboard true where the stream of changes does not tell: the steps of what is being deployed. What changes
// else comes by lib/live.js.

import htmx from "htmx.org";
import { showInTab } from "./lib/tab.js";

const BUSY_SECONDS = 4;
const QUIET_SECONDS = 60;

let refreshed = Date.now();

showState();
setInterval(refresh, 1000);
document.addEventListener("visibilitychange", refresh);
document.addEventListener("htmx:after:swap", showState);

function refresh() {
  const board = document.getElementById("board");
  const wait = board.dataset.state === "running" ? BUSY_SECONDS : QUIET_SECONDS;
  if (document.hidden || inUse(board) || Date.now() - refreshed < wait * 1000) return;
  refreshed = Date.now();
  htmx.ajax("GET", board.dataset.refresh, { target: "#board", swap: "outerHTML" });
}

/** A card that somebody is about to use is not replaced under the hand. */
function inUse(board) {
  return board.contains(document.activeElement) || board.querySelector("details[open]");
}

function showState() {
  showInTab(document.getElementById("board").dataset.state);
}
