// The keys on sale: a card for each API, with the countdown of its key.

import { counted, shown, units } from "./amounts.js";
import { ask } from "./confirm.js";
import { at, brief, copier, empty, keep, make, mark, say, tell } from "./dom.js";
import { model } from "./model.js";
import { order } from "./service.js";
import { clock, durationMillis, millis, until } from "./times.js";
import { Track } from "./track.js";

/** So many cards are shown; /v1/apis has them all. */
const SHOWN = 24;

const cards = new Map();

/** The cards. */
export function drawApis() {
  const list = at("apis");
  const apis = model.apis.toSorted((a, b) => a.prefix.localeCompare(b.prefix)).slice(0, SHOWN);
  if (apis.length === 0 && model.seller) {
    list.replaceChildren(
      make("li", {}, empty("No API yet", "Add an [[api]] to the configuration, or POST /v1/apis.")),
    );
    delete list.kept;
    cards.clear();
  } else {
    if (!list.kept) list.replaceChildren();
    keep(list, apis, (api) => api.api_id, create, update);
    for (const api_id of cards.keys()) if (!list.kept.has(api_id)) cards.delete(api_id);
  }
  say(at("apis-note"), note());
}

function note() {
  const { apis } = model;
  const parts = [counted(apis.length, "API")];
  const waiting = apis.filter((api) => !api.paused && !api.key?.offered).length;
  const paused = apis.filter((api) => api.paused).length;
  if (waiting > 0) parts.push(`${waiting} not offered`);
  if (paused > 0) parts.push(`${paused} paused`);
  if (apis.length > SHOWN) parts.push(`the first ${SHOWN} are shown`);
  return parts.join(", ");
}

/** Lets time pass: the countdowns. */
export function tick() {
  for (const card of cards.values()) card.tick();
}

function create(api) {
  const card = new Card(api);
  cards.set(api.api_id, card);
  return card.element;
}

function update(_, api) {
  cards.get(api.api_id).draw(api);
}

class Card {
  constructor(api) {
    this.name = make("h3");
    this.pill = make("p", { class: "pill small" });
    this.price = make("b");
    this.key = make("span", { class: "id" });
    this.next = make("span", { class: "next quiet" });
    this.time = new Track("Time until the key is replaced");
    this.uses = new Track("Payloads that the key still encrypts");
    this.facts = make("p", { class: "facts" });
    this.error = make("p", { class: "error", hidden: true });
    this.rotate = make("button", { type: "button", class: "small" }, "Rotate");
    this.pause = make("button", { type: "button", class: "small" }, "Pause");
    this.rotate.addEventListener("click", () => this.askRotate());
    this.pause.addEventListener("click", () => this.askPause());
    this.element = make(
      "li",
      { class: "card" },
      make(
        "div",
        { class: "top" },
        make("div", {}, this.name, make("p", { class: "price" }, this.price, " a key")),
        this.pill,
      ),
      make(
        "p",
        { class: "key" },
        make("span", { class: "label" }, "Key"),
        this.key,
        copier("key id", () => this.key.title),
        this.next,
      ),
      this.time.element,
      this.uses.element,
      this.facts,
      this.error,
      make("div", { class: "buttons" }, this.rotate, this.pause),
    );
    this.draw(api);
  }

  draw(api) {
    this.api = api;
    say(this.name, api.prefix);
    say(this.price, `${shown(units(api.price))} XBR`);
    tell(this.pill, ...standing(api));
    say(this.key, api.key ? brief(api.key.key_id) : "none");
    this.key.title = api.key?.key_id ?? "";
    // There is a line in any case: the page does not jump with each key.
    const next = api.next_key ? `${brief(api.next_key.key_id)}, offered already` : "not made yet";
    say(this.next, `Next key ${next}`);
    const facts = [counted(api.rotations, "key") + " so far"];
    if (api.unoffered > 0) facts.push(`${api.unoffered} to be offered`);
    if (api.failed_offers > 0) facts.push(`${counted(api.failed_offers, "offer")} failed`);
    say(this.facts, facts.join(" · "));
    const error = api.key?.offered ? null : api.last_error;
    this.error.hidden = !error;
    say(this.error, error ?? "");
    for (const [button, verb] of [
      [this.rotate, "Rotate"],
      [this.pause, api.paused ? "Resume" : "Pause"],
    ]) {
      say(button, verb);
      mark(button, "aria-label", `${verb} ${api.prefix}`);
    }
    this.rotate.disabled = api.paused;
    this.tick();
  }

  tick() {
    const { key, interval, count, paused } = this.api;
    const rests = key?.rotates && interval && !paused;
    this.time.element.hidden = !rests;
    if (rests) {
      const [left, whole] = [millis(key.rotates) - clock.now(), durationMillis(interval)];
      const text = left > 0 ? `in ${until(left)}` : "now, or with the next payload";
      this.time.draw("Rotates", text, Math.min(1, Math.max(0, left / whole)));
    }
    const uses = key && count !== null && key.uses_left !== null;
    this.uses.element.hidden = !uses;
    if (uses) this.uses.draw("Uses left", `${key.uses_left} of ${count}`, key.uses_left / count);
  }

  askRotate() {
    const { api_id, prefix } = this.api;
    const text = "A new key is used from then on; the old one stays for sale.";
    ask(`Rotate the key of ${prefix}?`, text, "Rotate", () => order(`/v1/apis/${api_id}/rotate`));
  }

  askPause() {
    const { api_id, prefix, paused } = this.api;
    const text = paused
      ? "It encrypts again, and its keys rotate and are offered again."
      : "Nothing more is encrypted and no new key is offered until it is resumed. What is offered stays for sale.";
    const verb = paused ? "Resume" : "Pause";
    ask(`${verb} ${prefix}?`, text, verb, () => order(`/v1/apis/${api_id}/${verb.toLowerCase()}`));
  }
}

function standing({ paused, key }) {
  if (paused) return ["Paused", "quiet"];
  if (!key) return ["No key", "bad"];
  return key.offered ? ["Offered", "good"] : ["Not offered yet", "warn"];
}
