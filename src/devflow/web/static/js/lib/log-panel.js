// The log with its bar: search, first error, follow, filter by server, line links.

import { LogStore } from "./log-store.js";
import { LogView } from "./log-view.js";
import { gettext, ngettext, number } from "./words.js";

const TOLD_EVERY_MS = 10_000;
const SEARCHED_EVERY_MS = 1000; // what comes while one searches
const TYPING_MS = 250;

export class LogPanel {
  #store;
  #view;
  #parts;
  #live;
  #hits = [];
  #hit = -1;
  #searched = 0; // rows that the search has seen
  #searching = 0; // the timer of the search in those that came since
  #servers = new Set();
  #pendingLink = true;
  #nothing;
  #told = 0; // lines that the status line has told of
  #telling = 0;

  /** Without a `store` all lines come by `add`. */
  constructor(panel, { live, store = new LogStore() }) {
    this.#live = live;
    this.#store = store;
    store.onCome = () => this.#view.come();
    this.#nothing = panel.dataset.nothing ?? gettext("This deployment printed nothing.");
    const part = (name) => panel.querySelector(`[data-log="${name}"]`);
    const names = ["view", "wait", "query", "hits", "next", "previous", "error", "follow", "server", "lines", "state", "said"];
    this.#parts = Object.fromEntries(names.map((name) => [name, part(name)]));
    this.#view = new LogView(this.#parts.view, this.#store, {
      showServers: panel.dataset.servers === "many",
      onFollow: (on) => this.#showFollow(on),
    });
    this.#wire();
    if (store.total) this.#show();
    this.#told = store.total;
    if (!store.total || !location.hash) this.#follow(live || store.total > 0);
  }

  /** data: {server, step, text} with text of whole lines. */
  add(data) {
    this.#store.append(data.text, data.server, data.step, data.line);
    this.#show();
    this.#offerServer(data.server);
    this.#searchSoon();
    this.#tell();
  }

  #show() {
    this.#view.grown();
    this.#parts.wait.hidden = true;
    this.#parts.error.disabled = false;
    this.#parts.lines.textContent = ngettext("%(count)s line", "%(count)s lines", this.#store.total);
    if (this.#pendingLink) this.#openLink();
  }

  /** For those who do not see the lines: how many have come, not more often than every ten seconds. */
  #tell() {
    if (!this.#parts.said || this.#telling) return;
    this.#telling = setTimeout(() => {
      this.#telling = 0;
      this.#parts.said.textContent = ngettext("%(count)s line more", "%(count)s lines more", this.#store.total - this.#told);
      this.#told = this.#store.total;
    }, TOLD_EVERY_MS);
  }

  connected(live) {
    this.#parts.state.textContent = live ? gettext("Live") : "";
    this.#parts.state.classList.remove("is-cut");
  }

  disconnected(forGood) {
    this.#parts.state.classList.add("is-cut");
    this.#parts.state.textContent = forGood ? gettext("Not connected: reload the page") : gettext("Reconnecting…");
  }

  finished() {
    this.#live = false;
    this.#parts.state.textContent = "";
    if (!this.#store.total) this.#parts.wait.textContent = this.#nothing;
  }

  async showStep(step) {
    this.#showLine(await this.#store.firstOfStep(step));
  }

  async showFirstError(step) {
    const number = await this.#store.firstError(step);
    if (number < 0) this.#parts.hits.textContent = gettext("no error found");
    else this.#showLine(number);
  }

  #wire() {
    const { query, next, previous, error, follow, server } = this.#parts;
    let typing = 0;
    query.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => this.#search(), TYPING_MS);
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

  async #filter(server) {
    await this.#store.filter(server);
    this.#view.reset();
    this.#search();
  }

  #offerServer(name) {
    if (this.#servers.has(name)) return;
    this.#servers.add(name);
    if (![...this.#parts.server.options].some((option) => option.value === name)) this.#parts.server.append(new Option(name, name));
  }

  async #search() {
    const [query, size] = [this.#parts.query.value, this.#store.size];
    const found = query ? await this.#store.find(query) : [];
    if (query !== this.#parts.query.value) return; // something else is wanted by now
    this.#hits = found.filter((place) => place < size);
    this.#searched = size;
    this.#hit = this.#hits.length ? 0 : -1;
    if (query) this.#follow(false);
    this.#showHits();
    this.#searchSoon();
  }

  /** Searches what has come since, one search after the other. */
  #searchSoon() {
    if (!this.#parts.query.value || this.#searched >= this.#store.size) return;
    this.#searching ||= setTimeout(async () => {
      await this.#searchMore().catch(() => {}); // the panel is away: again in a second
      this.#searching = 0;
      this.#searchSoon();
    }, SEARCHED_EVERY_MS);
  }

  async #searchMore() {
    const [query, from, size] = [this.#parts.query.value, this.#searched, this.#store.size];
    const found = query ? await this.#store.find(query, from) : [];
    if (query !== this.#parts.query.value || from !== this.#searched) return; // searched anew meanwhile
    this.#searched = size;
    const more = found.filter((place) => place < size);
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
    const at = { hit: number(this.#hit + 1), total: number(total) };
    hits.textContent = !query.value ? "" : total ? gettext("%(hit)s of %(total)s", at) : gettext("no hits");
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
    this.#view.reveal();
    history.replaceState(null, "", `#L${number + 1}`);
  }

  /** #L123 in the address; while the log is still coming, once that line is there. */
  #openLink() {
    const number = Number(/^#L(\d+)$/.exec(location.hash)?.[1] ?? 0) - 1;
    const isFirst = this.#pendingLink; // later ones are of lines that are in the window
    this.#pendingLink = number >= this.#store.total;
    if (number < 0 || this.#pendingLink) return;
    this.#follow(false);
    this.#view.link(number);
    if (isFirst) this.#view.reveal();
  }
}
