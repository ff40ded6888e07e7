// Keeps the dashboard true where the stream of changes does not tell: the steps of what is being deployed. What changes
// else comes by lib/live.js.

import { plan } from "./lib/live.js";
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
  if (document.hidden || Date.now() - refreshed < wait * 1000) return;
  refreshed = Date.now();
  plan("board");
}

function showState() {
  showInTab(document.getElementById("board").dataset.state);
}
