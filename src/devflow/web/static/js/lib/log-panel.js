// The log with its bar: search, first error, follow, filter by server, line links.

import { LogStore } from "./log-store.js";
import { LogView } from "./log-view.js";

const count = new Intl.NumberFormat("en");

export class LogPanel {
  #store = new LogStore();
  #view;
  #parts;
  #live;
  #hits = [];
  #hit = -1;
  #searched = 0; // rows that the search has seen
  #servers = new Set();
  #pendingLink = true;
  #nothing;

  constructor(panel, { live }) {
    this.#live = live;
    this.#nothing = panel.dataset.nothing ?? "This deployment printed nothing.";
    const part = (name) => panel.querySelector(`[data-log="${name}"]`);
    const names = ["view", "wait", "query", "hits", "next", "previous", "error", "follow", "server", "lines", "state"];
    this.#parts = Object.fromEntries(names.map((name) => [name, part(name)]));
    this.#view = new LogView(this.#parts.view, this.#store, {
      showServers: panel.dataset.servers === "many",
      onFollow: (on) => this.#showFollow(on),
    });
    this.#wire();
    this.#follow(live && !location.hash);
  }

  /** data: {server, step, text} with text of whole lines. */
  add(data) {
    this.#store.append(data.text, data.server, data.step);
    this.#view.grown();
    this.#parts.wait.hidden = true;
    this.#parts.error.disabled = false;
    this.#parts.lines.textContent = `${count.format(this.#store.total)} ${this.#store.total === 1 ? "line" : "lines"}`;
    this.#offerServer(data.server);
    if (this.#parts.query.value) this.#searchMore();
    if (this.#pendingLink) this.#openLink();
  }

  connected(live) {
    this.#parts.state.textContent = live ? "Live" : "";
    this.#parts.state.classList.remove("is-cut");
  }

  disconnected(forGood) {
    this.#parts.state.classList.add("is-cut");
    this.#parts.state.textContent = forGood ? "Not connected: reload the page" : "Reconnecting…";
  }

  finished() {
    this.#live = false;
    this.#parts.state.textContent = "";
    if (!this.#store.total) this.#parts.wait.textContent = this.#nothing;
  }

  showStep(step) {
    this.#showLine(this.#store.firstOfStep(step));
  }

  showFirstError(step) {
    const number = this.#store.firstError(step);
    if (number < 0) this.#parts.hits.textContent = "no error found";
    else this.#showLine(number);
  }

  #wire() {
    const { query, next, previous, error, follow, server } = this.#parts;
    let typing = 0;
    query.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => this.#search(), 90);
    });
    query.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.#step(event.shiftKey ? -1 : 1);
      if (event.key === "Escape") this.#clear();
    });
    next.addEventListener("click", () => this.#step(1));
    previous.addEventListener("click", () => this.#step(-1));
    error.addEventListener("click", () => this.showFirstError(document.querySelector("[data-status=failed]")?.dataset.step));
    follow.addEventListener("click", () => this.#follow(follow.getAttribute("aria-pressed") !== "true"));
    server.addEventListener("change", () => this.#filter(server.value));
    addEventListener("hashchange", () => this.#openLink());
  }

  #follow(on) {
    this.#view.follow(on);
    this.#showFollow(on);
  }

  #showFollow(on) {
    this.#parts.follow.setAttribute("aria-pressed", on);
  }

  #filter(server) {
    this.#store.filter(server);
    this.#view.reset();
    this.#search();
  }

  #offerServer(name) {
    if (this.#servers.has(name)) return;
    this.#servers.add(name);
    this.#parts.server.append(new Option(name, name));
  }

  #search() {
    const query = this.#parts.query.value;
    this.#hits = query ? this.#store.find(query) : [];
    this.#searched = this.#store.size;
    this.#hit = this.#hits.length ? 0 : -1;
    if (query) this.#follow(false);
    this.#showHits();
  }

  #searchMore() {
    const more = this.#store.find(this.#parts.query.value, this.#searched);
    this.#searched = this.#store.size;
    if (!more.length) return;
    this.#hits.push(...more);
    this.#hit = Math.max(0, this.#hit);
    this.#showHits();
  }

  #step(by) {
    if (!this.#hits.length) return;
    this.#hit = (this.#hit + by + this.#hits.length) % this.#hits.length;
    this.#showHits();
  }

  #showHits() {
    const { hits, next, previous, query } = this.#parts;
    const total = this.#hits.length;
    hits.textContent = !query.value ? "" : total ? `${count.format(this.#hit + 1)} of ${count.format(total)}` : "no hits";
    next.disabled = previous.disabled = !total;
    this.#view.mark(query.value, this.#hits, this.#hits[this.#hit] ?? -1);
  }

  #clear() {
    this.#parts.query.value = "";
    this.#search();
  }

  #showLine(number) {
    if (number < 0) return;
    this.#follow(false);
    this.#view.link(number);
    history.replaceState(null, "", `#L${number + 1}`);
  }

  /** #L123 in the address; while the log is still coming, once that line is there. */
  #openLink() {
    const number = Number(/^#L(\d+)$/.exec(location.hash)?.[1] ?? 0) - 1;
    this.#pendingLink = number >= this.#store.total;
    if (number < 0 || this.#pendingLink) return;
    this.#follow(false);
    this.#view.link(number);
  }
}
