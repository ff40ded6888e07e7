// The steps of a deployment. The server renders them; what happens to one afterwards is put in place here.

import { duration } from "./time.js";
import { gettext } from "./words.js";

const LOOKS = {
  pending: ["pending", "is-pending", gettext("Pending")],
  running: ["running", "tone-busy", gettext("Running")],
  success: ["check", "tone-good", gettext("Done")],
  failed: ["cross", "tone-bad", gettext("Failed")],
  cancelled: ["cancelled", "", gettext("Cancelled")],
  skipped: ["cancelled", "is-pending", gettext("Skipped")],
};

export class Timeline {
  #list;
  #onUnknown;
  #latest = new Map(); // step id → its last event and that event's number

  /** `onPick(step id)` when a step is clicked; `onUnknown()` when the server knows steps that the page does not. */
  constructor(list, { onPick, onUnknown }) {
    this.#list = list;
    this.#onUnknown = onUnknown;
    list.addEventListener("click", (event) => {
      const row = event.target.closest("[data-step]");
      if (row) onPick(row.dataset.step);
    });
    this.#showCurrent();
  }

  /** Where the list scrolls by itself it begins at what failed, or runs. */
  #showCurrent() {
    const current = this.#list.querySelector("[data-status=failed]") ?? this.#list.querySelector("[data-status=running]");
    if (!current) return;
    const below = current.getBoundingClientRect().bottom - this.#list.getBoundingClientRect().bottom;
    if (below > 0) this.#list.scrollTop += below + this.#list.clientHeight / 3;
  }

  /** `event`: step (its id), status, started_at, duration_seconds. `seq` is the event's number. */
  update(event, seq) {
    this.#latest.set(event.step, { event, seq });
    this.#show(event);
  }

  /** The server has rendered all steps as they were after event `seq`; what came later is shown again. */
  rendered(seq) {
    for (const latest of this.#latest.values()) {
      if (latest.seq > seq) this.#show(latest.event);
    }
  }

  failedStep() {
    return this.#list.querySelector("[data-status=failed]")?.dataset.step ?? null;
  }

  #show(event) {
    const row = this.#list.querySelector(`[data-step="${CSS.escape(event.step)}"]`);
    if (!row) return this.#onUnknown();
    const [icon, tone, word] = LOOKS[event.status];
    const isRunning = event.status === "running";
    row.className = `step ${tone}`;
    row.dataset.status = event.status;
    row.querySelector(".icon").classList.toggle("icon-spin", isRunning);
    row.querySelector("use").setAttribute("href", `#i-${icon}`);
    row.querySelector(".step-word").textContent = word;
    const time = row.querySelector(".step-time");
    if (isRunning) time.dataset.elapsedSince = event.started_at;
    else delete time.dataset.elapsedSince;
    time.textContent = event.duration_seconds == null ? "" : duration(event.duration_seconds);
    if (isRunning) this.#bringIntoView(row);
  }

  /** On a phone the list scrolls by itself; the page must not. */
  #bringIntoView(row) {
    const { scrollTop, clientHeight } = this.#list;
    const top = row.offsetTop - this.#list.offsetTop;
    if (top < scrollTop || top + row.offsetHeight > scrollTop + clientHeight) this.#list.scrollTop = top - clientHeight / 2;
  }
}
