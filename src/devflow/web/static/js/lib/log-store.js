// The lines of a log, as they came, with the server and step of each; searching and filtering them.

import { plain } from "./ansi.js";

const ERROR = /\b(?:error|fatal|exception|traceback|panic|failed|failure|denied|not found|cannot|could not)\b/i;

export class LogStore {
  #lines = [];
  #servers = [];
  #steps = [];
  #firstOfStep = new Map();
  #shown = null; // numbers of the lines of one server, or null: all of them
  #server = "";

  /** Adds whole lines, each ended by \n (the last one need not be), of one step on one server. */
  append(text, server, step) {
    for (const line of text.replace(/\n$/, "").split("\n")) {
      if (!this.#firstOfStep.has(step)) this.#firstOfStep.set(step, this.#lines.length);
      if (this.#shown && server === this.#server) this.#shown.push(this.#lines.length);
      this.#lines.push(line);
      this.#servers.push(server);
      this.#steps.push(step);
    }
  }

  /** How many rows are to be shown. */
  get size() {
    return this.#shown ? this.#shown.length : this.#lines.length;
  }

  get total() {
    return this.#lines.length;
  }

  /** The row at a place of the view: its number in the log (from 0), its text and its server. */
  row(place) {
    const number = this.#shown ? this.#shown[place] : place;
    return { number, text: this.#lines[number], server: this.#servers[number] };
  }

  /** Where a line of the log stands in the view; the nearest later one if it is filtered out; -1 beyond the end. */
  place(number) {
    if (number < 0 || number >= this.#lines.length) return -1;
    return this.#shown ? lowerBound(this.#shown, number) : number;
  }

  /** Shows one server's lines only; all with "". */
  filter(server) {
    this.#server = server;
    this.#shown = server ? this.#servers.flatMap((name, number) => (name === server ? [number] : [])) : null;
  }

  /** Places of the rows from `from` on that hold `query`, whatever its case. */
  find(query, from = 0) {
    const wanted = pattern(query);
    const found = [];
    for (let place = from; place < this.size; place++) {
      if (wanted.test(plain(this.row(place).text))) found.push(place);
    }
    return found;
  }

  firstOfStep(step) {
    return this.#firstOfStep.get(step) ?? -1;
  }

  /** The number of the line to look at first: the first error of the failed step, else its last line, else of the whole log. */
  firstError(step = null) {
    let last = -1;
    for (let number = step ? this.firstOfStep(step) : 0; number >= 0 && number < this.#lines.length; number++) {
      if (step && this.#steps[number] !== step) continue;
      if (ERROR.test(plain(this.#lines[number]))) return number;
      last = number;
    }
    return step ? last : -1;
  }
}

/** `query` as it was typed, no matter the case. */
export function pattern(query, flags = "i") {
  return new RegExp(query.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), flags);
}

function lowerBound(sorted, value) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
