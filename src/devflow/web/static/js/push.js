// The page Account: notifications on this device, switched on. The rest of it are forms.

import { address, subscription } from "./lib/device.js";

const section = document.getElementById("devices");
const form = section.querySelector("[data-push-form]");
const note = section.querySelector("[data-push-note]");
const here = section.querySelector("[data-push-here]");

start();

async function start() {
  const registered = await navigator.serviceWorker?.getRegistration().catch(() => undefined);
  if (!form || !registered?.pushManager || !window.Notification) return;
  section.querySelector("[data-push-unable]").hidden = true;
  const known = await subscription();
  if (here && !known) tell(section.dataset.pushProblem);
  form.hidden = Boolean(known) && here?.dataset.pushHere === "team";
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if ((await Notification.requestPermission()) !== "granted") return tell(form.dataset.denied);
    try {
      const made = await subscribe();
      for (const [name, value] of Object.entries(address(made))) form.elements[name].value = value;
      form.submit();
    } catch {
      tell(form.dataset.failed);
    }
  });
}

/** With the panel's key; one that was made for another key is of no use any more. */
async function subscribe() {
  const { pushManager } = await navigator.serviceWorker.ready;
  const options = { userVisibleOnly: true, applicationServerKey: section.dataset.pushKey };
  try {
    return await pushManager.subscribe(options);
  } catch (error) {
    const other = error.name === "InvalidStateError" && (await pushManager.getSubscription());
    if (!other) throw error;
    await other.unsubscribe();
    return pushManager.subscribe(options);
  }
}

function tell(text) {
  note.hidden = false;
  note.lastElementChild.textContent = text;
  const button = form?.querySelector("button");
  button.disabled = false;
  button.removeAttribute("aria-busy");
}
