// Passkeys: made on the page Account, used to log in and to confirm. A form with data-passkey="create" or "get" asks the
// browser for one before it is sent; its options are in data-options, or fetched from data-options-at.

import { gettext } from "./lib/words.js";

const PROBLEMS = {
  NotAllowedError: gettext("No passkey was used: it was cancelled, took too long, or your device has none for this panel."),
  InvalidStateError: gettext("This device has a passkey of yours already."),
  SecurityError: gettext("Passkeys need https, and the address that the panel is set up with."),
};

if (window.PublicKeyCredential) {
  for (const form of document.querySelectorAll("form[data-passkey]")) prepare(form);
} else {
  for (const form of document.querySelectorAll("form[data-passkey]")) tell(form, gettext("This browser knows no passkeys here."));
}

function prepare(form) {
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      const publicKey = readable((await options(form)).publicKey);
      const credential = await ask(form.dataset.passkey, publicKey);
      form.elements.credential.value = JSON.stringify(sendable(credential));
      form.dataset.sent = "yes"; // `submit()` tells nobody
      form.submit();
    } catch (error) {
      tell(form, PROBLEMS[error.name] ?? gettext("It did not work. Try again."));
      button.disabled = false;
    }
  });
}

async function options(form) {
  if (form.dataset.options) return JSON.parse(form.dataset.options);
  const answer = await fetch(form.dataset.optionsAt, { headers: { Accept: "application/json" } });
  return (await answer.json()).request_options;
}

function ask(what, publicKey) {
  if (what === "get") return navigator.credentials.get({ publicKey });
  // It lets in by itself, so it must be found without a name, and check who holds it.
  const selection = { ...publicKey.authenticatorSelection };
  Object.assign(selection, { residentKey: "required", requireResidentKey: true, userVerification: "required" });
  return navigator.credentials.create({ publicKey: { ...publicKey, authenticatorSelection: selection } });
}

/** What came as JSON, with bytes where the browser wants bytes. */
function readable(publicKey) {
  const made = { ...publicKey, challenge: bytes(publicKey.challenge) };
  if (made.user) made.user = { ...made.user, id: bytes(made.user.id) };
  for (const list of ["allowCredentials", "excludeCredentials"]) {
    if (made[list]) made[list] = made[list].map((each) => ({ ...each, id: bytes(each.id) }));
  }
  return made;
}

function sendable(credential) {
  const { response } = credential;
  const names = ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"];
  const parts = names.filter((name) => response[name]).map((name) => [name, text(response[name])]);
  return {
    id: credential.id,
    rawId: text(credential.rawId),
    type: credential.type,
    response: { ...Object.fromEntries(parts), transports: response.getTransports?.() ?? [] },
    clientExtensionResults: credential.getClientExtensionResults(),
  };
}

function bytes(base64url) {
  const binary = atob(base64url.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

function text(buffer) {
  const binary = String.fromCharCode(...new Uint8Array(buffer));
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function tell(form, message) {
  const note = form.querySelector("[data-passkey-problem]");
  note.lastElementChild.textContent = message;
  note.hidden = false;
}
