// The dashboard of a seller: what it sells and earns, as it happens. No framework, and nothing from elsewhere.

import { drawApis, tick } from "./apis.js";
import { beginCharts, drawCharts } from "./charts.js";
import { beginConfirm } from "./confirm.js";
import { at, say } from "./dom.js";
import { drawConnection, drawHead } from "./head.js";
import { drawChannels, drawFeeds, drawOffers } from "./market.js";
import { happened, look, model, rest, watch } from "./model.js";
import { beginSales, drawSales } from "./sales.js";
import { Unauthorized, follow, hasToken, setToken } from "./service.js";
import { drawTotals } from "./totals.js";

/** How often the countdowns move. */
const TICK_MS = 250;
/** How often it is looked for changes of which no event tells. */
const LOOK_MS = 5000;

const PARTS = {
  head: drawHead,
  connection: drawConnection,
  totals: drawTotals,
  charts: drawCharts,
  apis: drawApis,
  channels: drawChannels,
  offers: drawOffers,
  feeds: drawFeeds,
  sales: drawSales,
};

const pending = new Set();

/** Draws some parts with the next frame: a thousand changes are drawn once. */
function draw(...parts) {
  if (pending.size === 0) requestAnimationFrame(drawPending);
  parts.forEach((part) => pending.add(part));
}

function drawPending() {
  const parts = [...pending];
  pending.clear();
  parts.forEach((part) => PARTS[part]());
}

function alive(is) {
  if (is) model.asOf = Date.now();
  if (is !== model.live || !is) draw("connection");
  model.live = is;
}

/** Follows the service until it wants a token, and goes on when it has one. */
async function run() {
  for (;;) {
    try {
      await follow({ happened, alive });
    } catch (error) {
      if (!(error instanceof Unauthorized)) throw error;
      rest();
      await askToken();
    }
  }
}

/** Resolves when a token was given. Whether it is right shows the next request. */
function askToken() {
  model.live = false;
  show(false);
  say(at("token-error"), hasToken() ? "The service does not know this token." : "");
  setToken(null);
  at("token-field").value = "";
  at("token-field").focus();
  const form = at("token-form");
  return new Promise((resolve) => {
    const given = (event) => {
      event.preventDefault();
      form.removeEventListener("submit", given);
      setToken(at("token-field").value.trim());
      at("token-field").value = "";
      resolve();
    };
    form.addEventListener("submit", given);
  });
}

/** Shows the figures, or else the question for a token. */
function show(figures) {
  at("token").hidden = figures;
  at("figures").hidden = !figures;
  at("seller-state").hidden = at("connection").hidden = !figures;
  at("forget").hidden = !hasToken();
}

watch((...parts) => {
  if (at("figures").hidden) show(true);
  at("forget").hidden = !hasToken();
  draw(...parts);
});
at("forget").addEventListener("click", () => {
  setToken(null);
  location.reload();
});
beginCharts();
beginConfirm();
beginSales();
setInterval(() => model.live && tick(), TICK_MS);
setInterval(() => model.live && look(), LOOK_MS);
run();
