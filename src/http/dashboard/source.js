// Reading something again when it has changed: not at once for each change, and never so often that the service would
// be busy with it.

import { Refused, Unauthorized } from "./service.js";

/** The service is given ten times as long a rest as it took. */
const REST = 10;
const RETRY_MS = 2000;

/** Something that is read again when it is said to have changed. */
export class Source {
  #load;
  #least;
  #stale = false;
  #running = false;
  #notBefore = 0;
  #timer = null;

  /** `load` reads it; that happens every `least` ms at most. */
  constructor(load, least) {
    this.#load = load;
    this.#least = least;
    document.addEventListener("visibilitychange", () => this.#arm());
  }

  /** It has changed. */
  touch() {
    this.#stale = true;
    this.#arm();
  }

  /** Nobody needs it now. */
  rest() {
    this.#stale = false;
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  #arm() {
    // Nobody sees a page that is hidden.
    if (!this.#stale || this.#running || this.#timer !== null || document.hidden) return;
    this.#timer = setTimeout(() => this.#run(), Math.max(0, this.#notBefore - performance.now()));
  }

  async #run() {
    this.#timer = null;
    this.#running = true;
    this.#stale = false;
    const begun = performance.now();
    let rest = this.#least;
    try {
      await this.#load();
    } catch (error) {
      // The stream of events finds out when the service has gone or wants another token.
      if (!(error instanceof Unauthorized || error instanceof Refused || error instanceof TypeError))
        throw error;
      this.#stale = !(error instanceof Unauthorized);
      rest = RETRY_MS;
    } finally {
      const now = performance.now();
      this.#notBefore = now + Math.max(rest, (now - begun) * REST);
      this.#running = false;
      this.#arm();
    }
  }
}
