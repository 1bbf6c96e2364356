// How full something is: a bar, and the same in words.

import { make, mark, say } from "./dom.js";

/** A bar with what it means above it. */
export class Track {
  constructor(what) {
    this.label = make("span", { class: "quiet" });
    this.value = make("span");
    this.fill = make("i");
    this.bar = make(
      "div",
      { class: "track", role: "meter", "aria-label": what, "aria-valuemin": "0", "aria-valuemax": "100" },
      this.fill,
    );
    this.element = make("div", {}, make("div", { class: "count" }, this.label, this.value), this.bar);
  }

  draw(label, value, share) {
    say(this.label, label);
    say(this.value, value);
    setShare(this.bar, this.fill, share, value);
  }
}

/** Sets how full a bar is, from 0 to 1, and how that is said. */
export function setShare(bar, fill, share, text) {
  mark(bar, "aria-valuenow", Math.round(share * 100));
  mark(bar, "aria-valuetext", text);
  fill.style.setProperty("--share", share.toFixed(4));
}
