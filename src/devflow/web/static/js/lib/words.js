// The texts of the scripts in the page's language. A page that is not in English brings them along (#words); what it does
// not bring stays English. bin/messages finds the texts by the names `gettext` and `ngettext`.

export const language = document.documentElement.lang || "en";

const texts = JSON.parse(document.getElementById("words")?.textContent ?? "{}");
const formats = [];

/** `text` in the page's language, with its %(name)s filled in from `values`. */
export function gettext(text, values = {}) {
  return filled(texts[text] ?? text, values);
}

/** As gettext, of two forms the one for `count`; %(count)s is how the language writes it. */
export function ngettext(one, many, count, values = {}) {
  const forms = texts[one] ?? [one, many];
  return filled(count === 1 ? forms[0] : forms[1], { count: number(count), ...values });
}

/** 12,345 or 12.345; 0.4 or 0,4 with one digit. */
export function number(value, digits = 0) {
  formats[digits] ??= new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return formats[digits].format(value);
}

function filled(text, values) {
  return text.replace(/%\((\w+)\)s/g, (whole, name) => values[name] ?? whole);
}
