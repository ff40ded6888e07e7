// A container's log as it is printed: it is followed as long as this page is open.

import { LogPanel } from "./lib/log-panel.js";

const page = document.getElementById("followed");
const log = new LogPanel(document.getElementById("log"), { live: page.dataset.ended === "false" });
const source = new EventSource(page.dataset.events);

source.addEventListener("open", () => log.connected(page.dataset.ended === "false"));
source.addEventListener("error", () => {
  if (source.readyState === EventSource.CLOSED) log.finished();
  else log.disconnected(false);
});
source.addEventListener("container.log", (event) => log.add(JSON.parse(event.data)));
source.addEventListener("container.log_ended", (event) => {
  source.close();
  page.dataset.ended = "true";
  page.querySelector("[data-reason]").textContent = JSON.parse(event.data).reason;
  page.querySelector("[data-end]").hidden = false;
  log.finished();
});
