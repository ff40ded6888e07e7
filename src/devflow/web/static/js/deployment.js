// The page of one deployment: its events come by EventSource and drive the timeline, the log and the head.

import htmx from "htmx.org";
import { LogPanel } from "./lib/log-panel.js";
import { WindowStore } from "./lib/window-store.js";
import { Timeline } from "./lib/timeline.js";
import { showInTab } from "./lib/tab.js";

const REFRESH_AFTER_MS = 80; // several events at once ask for the head once

const page = document.getElementById("deployment");
const store = new WindowStore(page.dataset.lines, Number(page.dataset.total));
const log = new LogPanel(document.getElementById("log"), { live: page.dataset.ended === "false", store });
const timeline = new Timeline(document.getElementById("timeline"), { onPick: (step) => log.showStep(step), onUnknown: refresh });
const renderedSeq = seqOfHead(); // what the page showed when it came
let ended = page.dataset.ended === "true";
let refreshing = 0;

showState();
listen();
page.addEventListener("click", (event) => {
  if (event.target.closest("[data-first-error]")) log.showFirstError(timeline.failedStep());
});
document.addEventListener("htmx:before:swap", (event) => {
  if (!isAsking()) return;
  event.preventDefault();
  refresh();
});
document.addEventListener("htmx:after:swap", () => {
  timeline.rendered(seqOfHead());
  showState();
});

function listen() {
  if (ended) return log.finished();
  const source = new EventSource(`${page.dataset.events}?after=${renderedSeq}`); // what was before is read in windows
  source.addEventListener("open", () => log.connected(!ended));
  source.addEventListener("error", () => log.disconnected(source.readyState === EventSource.CLOSED));
  source.addEventListener("deployment.log", (event) => log.add(JSON.parse(event.data)));
  source.addEventListener("deployment.step", (event) => {
    if (isNews(event)) timeline.update(JSON.parse(event.data), seqOf(event));
  });
  for (const kind of ["deployment.started", "deployment.status"]) {
    source.addEventListener(kind, (event) => isNews(event) && refresh());
  }
  source.addEventListener("deployment.completed", (event) => {
    source.close();
    ended = true;
    log.finished();
    if (isNews(event)) refresh();
  });
}

/** The server writes the head (status, actions, failure), the list of steps and the releases. */
function refresh() {
  clearTimeout(refreshing);
  refreshing = setTimeout(() => {
    if (isAsking()) return refresh();
    htmx.ajax("GET", page.dataset.head, { target: "#head", swap: "outerHTML" });
  }, REFRESH_AFTER_MS);
}

/** Whether somebody is being asked something: what is there is not replaced under their hand. */
function isAsking() {
  return page.querySelector(":popover-open, :active") !== null;
}

function isNews(event) {
  return seqOf(event) > renderedSeq;
}

function seqOf(event) {
  return Number(event.lastEventId);
}

function seqOfHead() {
  return Number(document.getElementById("head").dataset.seq);
}

function showState() {
  const { state, title } = document.getElementById("head").dataset;
  showInTab(state, title);
}
