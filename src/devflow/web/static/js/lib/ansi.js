// Colours of a terminal as DOM nodes: no HTML strings and no style attributes, so a strict CSP holds.

import { AnsiUp } from "ansi_up";

/** Removes every escape sequence: what a person would read, copy and search. */
export function plain(text) {
  // CSI sequences; OSC strings up to BEL or ST; charset choices; any other escape with one character.
  // eslint-disable-next-line no-control-regex
  return text.includes("\x1b") ? text.replace(/\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()].|.)/g, "") : text;
}

/** Fills `target` with `text`, its SGR sequences turned into spans. Colours do not reach into the next line. */
export function paint(target, text) {
  if (text.includes("\x1b")) target.replaceChildren(...painter.nodes(text));
  else target.textContent = text;
}

class Painter extends AnsiUp {
  nodes(text) {
    this.parts = [];
    this.ansi_to_html(`\x1b[0m${text}\x1b[0m`);
    return this.parts;
  }

  // The two places where the library makes HTML of a fragment.
  transform_to_html(fragment) {
    if (fragment.text) this.parts.push(node(fragment));
    return "";
  }

  process_hyperlink(packet) {
    this.parts.push(packet.text);
    return "";
  }
}

function node(fragment) {
  const names = ["bold", "faint", "italic", "underline"].filter((name) => fragment[name]).map((name) => `sgr-${name}`);
  const element = document.createElement("span");
  colour(element, names, fragment.fg, "color", "fg");
  colour(element, names, fragment.bg, "backgroundColor", "bg");
  if (!names.length && !element.style.length) return fragment.text;
  element.className = names.join(" ");
  element.textContent = fragment.text;
  return element;
}

/** The sixteen named colours are classes (they fit the theme); the rest are set as they are. */
function colour(element, names, value, property, suffix) {
  if (!value) return;
  if (value.class_name === "truecolor") element.style[property] = `rgb(${value.rgb.join(",")})`;
  else names.push(`${value.class_name}-${suffix}`);
}

const painter = new Painter();
