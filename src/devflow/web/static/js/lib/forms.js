// Forms: busy at once, sent once, what was typed is not lost without a word, what is refused is where the focus goes.

const BUTTONS = "button[type=submit], button:not([type])";
const ANSWERED_MS = 10_000; // who is still on the page then got a file
const TYPED = "input:not([type=hidden], [type=submit], [type=button]), textarea, select";

export function startForms() {
  document.addEventListener("submit", (event) => lock(event));
  document.addEventListener("input", (event) => event.target.matches("[data-typed]") && confirmTyped(event.target));
  for (const field of document.querySelectorAll("[data-typed]")) confirmTyped(field);
  addEventListener("beforeunload", (event) => isUnsaved() && event.preventDefault());
  // Coming back by the browser's history: buttons must work again.
  addEventListener("pageshow", (event) => event.persisted && document.querySelectorAll("[data-locked]").forEach(unlock));
  document.querySelector("main [aria-invalid=true]")?.focus();
}

/** A form that is on its way is not sent a second time, and its button says so. */
function lock(event) {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post" || form.target) return;
  form.dataset.sent = "yes";
  const pressed = event.submitter;
  pressed?.setAttribute("aria-busy", "true");
  setTimeout(() => {
    for (const button of form.querySelectorAll(BUTTONS)) {
      if (button.disabled) continue;
      button.disabled = true;
      button.dataset.locked = "yes";
    }
  });
  setTimeout(() => form.querySelectorAll("[data-locked]").forEach(unlock), ANSWERED_MS);
}

function unlock(button) {
  button.disabled = false;
  button.removeAttribute("aria-busy");
  delete button.dataset.locked;
  delete button.form?.dataset.sent;
}

/** What cannot be undone: the button works once the name is typed. */
function confirmTyped(field) {
  for (const button of field.form.querySelectorAll(BUTTONS)) button.disabled = field.value !== field.dataset.typed;
}

/** Whether something was typed into a form of the page that was not sent. */
function isUnsaved() {
  return [...document.querySelectorAll("main:not(.entrance) form[method=post]:not([data-unsaved=no])")].some(
    (form) => !form.dataset.sent && !form.closest("[popover]") && isTyped(form),
  );
}

/** Whether a field within has another value than the page came with. */
export function isTyped(within) {
  return [...within.querySelectorAll(TYPED)].some(isChanged);
}

function isChanged(field) {
  if (field.getAttribute("aria-invalid") === "true" && field.value) return true; // was sent, and is not saved
  if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
  if (field.options) return [...field.options].some((option) => option.selected !== option.defaultSelected) && !isFirst(field);
  return field.value !== field.defaultValue;
}

/** A list in which nothing was chosen in the page's source shows its first entry. */
function isFirst(list) {
  return ![...list.options].some((option) => option.defaultSelected) && list.selectedIndex === 0;
}
