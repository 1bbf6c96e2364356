// Asking before something is done.

import { at, say } from "./dom.js";

let doing = null;

/** Hears of the answers. */
export function beginConfirm() {
  at("confirm-no").addEventListener("click", () => at("confirm").close());
  at("confirm-yes").addEventListener("click", async () => {
    const yes = at("confirm-yes");
    yes.disabled = true;
    try {
      await doing();
      at("confirm").close();
    } catch (error) {
      say(at("confirm-error"), `Not done: ${error.message}`);
    } finally {
      yes.disabled = false;
    }
  });
}

/** Asks; `action` is what is done when the answer is yes, and its failure is said. */
export function ask(title, text, verb, action) {
  doing = action;
  say(at("confirm-title"), title);
  say(at("confirm-text"), text);
  say(at("confirm-error"), "");
  say(at("confirm-yes"), verb);
  at("confirm").showModal();
}
