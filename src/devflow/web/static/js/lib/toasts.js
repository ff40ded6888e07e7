// Results of what was done: they go by themselves after a while, but errors, and what the pointer or the focus is on.

const SHOWN_MS = 7000;
const WITH_UNDO_MS = 15_000;

export function startToasts() {
  for (const toast of document.querySelectorAll("[data-toast]")) show(toast);
  document.addEventListener("click", (event) => {
    event.target.closest("[data-dismiss]")?.closest("[data-toast]").remove();
  });
}

function show(toast) {
  if (toast.classList.contains("note-error")) return;
  const shown = toast.querySelector("form") ? WITH_UNDO_MS : SHOWN_MS;
  let timer = setTimeout(go, shown);
  for (const kind of ["pointerenter", "focusin"]) toast.addEventListener(kind, () => clearTimeout(timer));
  for (const kind of ["pointerleave", "focusout"]) {
    toast.addEventListener(kind, () => {
      clearTimeout(timer);
      timer = setTimeout(go, shown / 2);
    });
  }

  function go() {
    toast.remove();
  }
}
