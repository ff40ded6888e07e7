// This browser as one that is told by push: its address, which it says to the panel once a day.

const ONCE = "devflow-device-renewed";

/** What the browser is subscribed to; null for nothing, or where it cannot be. */
export async function subscription() {
  const registered = await navigator.serviceWorker?.getRegistration();
  return (await registered?.pushManager?.getSubscription()) ?? null;
}

/** As the panel wants it: where to send, and for whose eyes. */
export function address(made) {
  const { endpoint, keys } = made.toJSON();
  return { endpoint, p256dh: keys.p256dh, auth: keys.auth };
}

/** Browsers change their address by themselves, and people log in anew. Of somebody else's nothing is told here. */
export async function renew() {
  const { person } = document.body.dataset;
  if (!person) return localStorage.removeItem(ONCE);
  const today = `${person} ${new Date().toISOString().slice(0, 10)}`;
  if (localStorage.getItem(ONCE) === today) return;
  const made = await subscription();
  const token = document.querySelector("[name=csrfmiddlewaretoken]")?.value;
  if (!made || !token) return;
  const body = new URLSearchParams({ ...address(made), csrfmiddlewaretoken: token });
  const answer = await fetch("/account/devices/renew/", { method: "POST", body, redirect: "manual" });
  if (answer.status === 404) await made.unsubscribe();
  if (answer.status === 404 || answer.status === 204) localStorage.setItem(ONCE, today);
}
