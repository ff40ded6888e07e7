// Keeps what a page shows of containers true, as long as somebody looks at it.

import htmx from "htmx.org";

const SECONDS = 4; // a server is not looked at more often

let refreshed = Date.now();

setInterval(refresh, 1000);
document.addEventListener("visibilitychange", refresh);

function refresh() {
  const live = document.getElementById("live");
  const seconds = live.dataset.state === "waiting" ? 1 : SECONDS;
  if (document.hidden || inUse(live) || Date.now() - refreshed < seconds * 1000) return;
  refreshed = Date.now();
  htmx.ajax("GET", live.dataset.refresh, { target: "#live", swap: "outerHTML" });
}

/** What somebody is about to use is not replaced under the hand. */
function inUse(live) {
  return live.contains(document.activeElement) || document.querySelector(":popover-open");
}
