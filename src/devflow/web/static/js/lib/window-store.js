// The lines of a deployment's log, of which only those near what is looked at are here: the rest is asked for in windows.
// Lines that have not come yet are empty rows; `onCome()` is called when they have. What searches the log asks the server.

const WINDOW = 500; // lines that are asked for at once
const KEPT = 60; // windows that are kept

export class WindowStore {
  #url;
  #windows = new Map(); // number of the window → its lines; holes where they have not come
  #asked = new Set();
  #total;
  #ranges = null; // of one server: [first, last, place of first], numbers from 0; null: all lines
  #server = "";

  /** `total` lines are there already. */
  constructor(url, total, onCome) {
    this.#url = url;
    this.#total = total;
    this.onCome = onCome;
  }

  get size() {
    if (!this.#ranges) return this.#total;
    const last = this.#ranges.at(-1);
    return last ? last[2] + last[1] - last[0] + 1 : 0;
  }

  get total() {
    return this.#total;
  }

  /** Whole lines of one step on one server, from line `first` (counted from 1) on. */
  append(text, server, step, first) {
    const lines = text.replace(/\n$/, "").split("\n");
    lines.forEach((line, at) => this.#put(first - 1 + at, { text: line, server, step: step ?? "" }));
    this.#total = Math.max(this.#total, first - 1 + lines.length);
    if (this.#ranges && server === this.#server) this.#extend(first - 1, first - 2 + lines.length);
    this.#forget();
  }

  /** As in LogStore; `isAway` where the line has not come yet. */
  row(place) {
    const number = this.#numberOf(place);
    const line = this.#windows.get(Math.floor(number / WINDOW))?.[number % WINDOW];
    if (!line) this.#ask(Math.floor(number / WINDOW));
    return line ? { number, ...line } : { number, text: "", server: "", isAway: true };
  }

  place(number) {
    if (number < 0 || number >= this.#total) return -1;
    if (!this.#ranges) return number;
    const range = this.#ranges.find(([, last]) => last >= number);
    return range ? range[2] + Math.max(0, number - range[0]) : -1;
  }

  async filter(server) {
    this.#server = server;
    this.#ranges = null;
    if (!server) return;
    const { ranges } = await this.#read({ ranges: server });
    if (this.#server !== server) return;
    this.#ranges = [];
    for (const [first, last] of ranges) this.#extend(first - 1, last - 1);
  }

  async find(query, from = 0) {
    const first = from < this.size ? this.#numberOf(from) + 1 : this.#total + 1;
    if (first > this.#total) return [];
    const { found } = await this.#read({ find: query, server: this.#server, first });
    return found.map((number) => this.place(number - 1));
  }

  async firstOfStep(step) {
    return (await this.#read({ step })).line - 1;
  }

  async firstError(step = null) {
    return (await this.#read(step ? { error: "yes", step } : { error: "yes" })).line - 1;
  }

  #numberOf(place) {
    if (!this.#ranges) return place;
    let low = 0;
    let high = this.#ranges.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#ranges[middle][2] <= place) low = middle;
      else high = middle - 1;
    }
    return this.#ranges[low][0] + place - this.#ranges[low][2];
  }

  #extend(first, last) {
    const end = this.#ranges.at(-1);
    if (end && last <= end[1]) return;
    if (end && first <= end[1] + 1) end[1] = last;
    else this.#ranges.push([first, last, this.size]);
  }

  #put(number, line) {
    const at = Math.floor(number / WINDOW);
    if (!this.#windows.has(at)) this.#windows.set(at, new Array(WINDOW));
    this.#windows.get(at)[number % WINDOW] = line;
  }

  async #ask(window) {
    if (this.#asked.has(window)) return;
    this.#asked.add(window);
    try {
      const first = window * WINDOW + 1;
      const { lines } = await this.#read({ first, count: WINDOW });
      for (const [number, server, step, text] of lines) this.#put(number - 1, { text, server, step });
      this.#forget(window);
      if (lines.length) this.onCome();
    } finally {
      setTimeout(() => this.#asked.delete(window), 1000); // a window that could not be read is asked for again
    }
  }

  /** The windows that came first are forgotten, but neither `window` nor the end of the log. */
  #forget(window = -1) {
    const end = Math.floor((this.#total - 1) / WINDOW);
    for (const at of this.#windows.keys()) {
      if (this.#windows.size <= KEPT) return;
      if (at !== window && at !== end) this.#windows.delete(at);
    }
  }

  async #read(query) {
    const answer = await fetch(`${this.#url}?${new URLSearchParams(query)}`, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`the log cannot be read: ${answer.status}`);
    return answer.json();
  }
}
