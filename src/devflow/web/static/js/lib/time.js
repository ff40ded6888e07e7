// Times and durations on a page: "3 min ago" that stays true, and elapsed times that tick.

import { gettext, language, ngettext, number } from "./words.js";

const locale = navigator.languages.find((name) => name.startsWith(language)) ?? language; // en-GB writes dates as en-GB does
const skew = Date.now() - Date.parse(document.body.dataset.now ?? new Date().toISOString());
const absolute = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "long" });
const titled = new WeakSet();
const short = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });

/** Milliseconds since the epoch by the server's clock. */
export function now() {
  return Date.now() - skew;
}

/** 0.4 s, 12 s, 3 min 05 s, 1 h 02 min: the same as the template filter `duration`. */
export function duration(seconds) {
  if (seconds < 10) return `${number(seconds, 1)} s`;
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

/** Keeps every <time data-ago>, <time data-at> (a time as such, in the reader's zone) and every [data-elapsed-since] of the page true, once a second. */
export function tick() {
  for (const element of document.querySelectorAll("time[data-ago]")) {
    const at = new Date(element.dateTime);
    const text = ago((now() - at) / 1000);
    if (element.textContent !== text) element.textContent = text;
    if (!titled.has(element)) element.title = absolute.format(at); // in the reader's zone
    titled.add(element);
  }
  for (const element of document.querySelectorAll("time[data-at]:not([title])")) {
    const at = new Date(element.dateTime);
    element.textContent = short.format(at);
    element.title = absolute.format(at);
  }
  for (const element of document.querySelectorAll("[data-elapsed-since]")) {
    element.textContent = duration(Math.max(0, (now() - Date.parse(element.dataset.elapsedSince)) / 1000));
  }
}

/** just now, 3 min ago, 2 h ago, yesterday, 5 days ago */
export function ago(seconds) {
  if (seconds < 45) return gettext("just now");
  if (seconds < 3600) return gettext("%(count)s min ago", { count: Math.max(1, Math.round(seconds / 60)) });
  if (seconds < 86400) return gettext("%(count)s h ago", { count: Math.round(seconds / 3600) });
  const days = Math.round(seconds / 86400);
  return days === 1 ? gettext("yesterday") : ngettext("%(count)s day ago", "%(count)s days ago", days);
}

function two(number) {
  return String(number).padStart(2, "0");
}
