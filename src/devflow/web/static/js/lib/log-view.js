// A list of any length of which only the visible rows exist. Rows keep their line while it is visible, so text that is
// selected stays so while the log grows.

import { paint } from "./ansi.js";
import { pattern } from "./log-store.js";

const OVERSCAN = 12;

export class LogView {
  #view;
  #store;
  #spacer = document.createElement("div");
  #rows = document.createElement("div");
  #rowHeight = 20;
  #first = 0;
  #scheduled = false;
  #lastTop = 0;
  #following = false;
  #query = "";
  #hits = new Set();
  #current = -1;
  #linked = -1;

  /** `onFollow(following)` is called when scrolling lets go of the end or comes back to it. */
  constructor(view, store, { showServers, onFollow }) {
    this.#view = view;
    this.#store = store;
    this.showServers = showServers;
    this.onFollow = onFollow;
    this.#rows.className = "rows";
    view.append(this.#spacer, this.#rows);
    view.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#schedule()).observe(view);
  }

  /** Lines were added to the store. */
  grown() {
    this.#schedule();
  }

  /** Lines that were away have come. */
  come() {
    for (const row of this.#rows.children) if (row.isAway) this.#fill(row, row.place);
    this.#highlight();
  }

  /** The store shows other rows than before. */
  reset() {
    this.#rows.replaceChildren();
    this.#schedule();
  }

  follow(on) {
    this.#following = on;
    if (on) this.#schedule();
  }

  /** Marks the rows that hold `query`, `current` among them; brings it into view. */
  mark(query, hits, current) {
    this.#query = query;
    this.#hits = new Set(hits);
    this.#current = current;
    if (current >= 0) this.show(current);
    this.#remark();
  }

  /** Marks the line with this number (from 0) as the one that the address names. */
  link(number) {
    this.#linked = number;
    const place = this.#store.place(number);
    if (place >= 0) this.show(place);
    this.#remark();
  }

  /** Brings the log itself into the window: on a phone it is below what leads to it. */
  reveal() {
    this.#view.scrollIntoView({ block: "nearest" });
  }

  /** Brings a row to the upper third of the view, unless it is in view. */
  show(place) {
    const top = place * this.#rowHeight;
    const { scrollTop, clientHeight } = this.#view;
    if (top >= scrollTop && top + this.#rowHeight <= scrollTop + clientHeight) return;
    this.#spacer.style.height = `${this.#store.size * this.#rowHeight}px`;
    this.#view.scrollTop = Math.max(0, top - clientHeight / 3);
    this.#lastTop = this.#view.scrollTop;
    this.#schedule();
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#view;
    const atEnd = scrollTop + clientHeight >= scrollHeight - this.#rowHeight;
    const wentUp = scrollTop < this.#lastTop - 1;
    const wentDown = scrollTop > this.#lastTop + 1; // by hand: what scripts do sets #lastTop
    this.#lastTop = scrollTop;
    if (this.#following ? wentUp && !atEnd : wentDown && atEnd) {
      this.#following = !this.#following;
      this.onFollow(this.#following);
    }
    this.#schedule();
  }

  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      this.#render();
    });
  }

  #render() {
    const height = this.#store.size * this.#rowHeight;
    this.#spacer.style.height = `${height}px`;
    if (this.#following) {
      this.#view.scrollTop = height;
      this.#lastTop = this.#view.scrollTop;
    }
    const top = Math.floor(this.#view.scrollTop / this.#rowHeight) - OVERSCAN;
    const wanted = Math.ceil(this.#view.clientHeight / this.#rowHeight) + 2 * OVERSCAN;
    const last = Math.min(this.#store.size, top + wanted);
    this.#arrange(Math.max(0, Math.min(top, last - wanted)), last);
    this.#highlight();
  }

  /** Makes the rows first … last-1 the ones that exist: those that stay are kept, the others are used again. */
  #arrange(first, last) {
    const rows = this.#rows;
    const kept = first < this.#first + rows.childElementCount && last > this.#first;
    const spare = kept ? [] : [...rows.children];
    while (kept && rows.firstChild && this.#first < first) {
      spare.push(rows.removeChild(rows.firstChild));
      this.#first++;
    }
    while (kept && this.#first + rows.childElementCount > last) spare.push(rows.removeChild(rows.lastChild));
    if (!kept) {
      rows.replaceChildren();
      this.#first = first;
    }
    while (this.#first > first) rows.prepend(this.#fill(spare.pop() ?? newRow(), --this.#first));
    for (let place = first + rows.childElementCount; place < last; place++) {
      rows.append(this.#fill(spare.pop() ?? newRow(), place));
    }
    rows.style.transform = `translateY(${first * this.#rowHeight}px)`;
  }

  #fill(row, place) {
    const { number, text, server, isAway = false } = this.#store.row(place);
    const [link, from, line] = row.children;
    link.textContent = number + 1;
    link.href = `#L${number + 1}`;
    from.textContent = server;
    from.hidden = !this.showServers;
    paint(line, text);
    row.place = place;
    row.number = number;
    row.isAway = isAway;
    this.#classify(row);
    return row;
  }

  #classify(row) {
    row.classList.toggle("is-away", row.isAway);
    row.classList.toggle("is-hit", this.#hits.has(row.place));
    row.classList.toggle("is-current", row.place === this.#current);
    row.classList.toggle("is-linked", row.number === this.#linked);
  }

  #remark() {
    for (const row of this.#rows.children) this.#classify(row);
    this.#highlight();
  }

  /** Marks the very words in the visible rows, where the browser can do so without touching the text. */
  #highlight() {
    if (!globalThis.CSS?.highlights) return;
    CSS.highlights.delete("log-search");
    if (!this.#query) return;
    const ranges = [...this.#rows.children].filter((row) => this.#hits.has(row.place)).flatMap((row) => matches(row.lastChild, this.#query));
    CSS.highlights.set("log-search", new Highlight(...ranges));
  }
}

function newRow() {
  const row = document.createElement("div");
  row.className = "row";
  const link = document.createElement("a");
  link.className = "no";
  link.tabIndex = -1;
  const from = document.createElement("span");
  from.className = "from";
  row.append(link, from, document.createElement("span"));
  return row;
}

/** Ranges of the query within the text nodes of an element. */
function matches(element, query) {
  const found = [];
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    for (const match of walker.currentNode.data.matchAll(pattern(query, "gi"))) {
      const range = new Range();
      range.setStart(walker.currentNode, match.index);
      range.setEnd(walker.currentNode, match.index + match[0].length);
      found.push(range);
    }
  }
  return found;
}
