// What the page knows of the service, all of it bounded, and how it learns of it: the figures are the service's own,
// read when they have changed; the events say when, and what cannot wait.

import { units } from "./amounts.js";
import { read } from "./service.js";
import { Source } from "./source.js";
import { clock, millis } from "./times.js";

/** How many sales, offers and latencies are kept. */
const SALES = 20;
const OFFERS = 8;
const LATENCIES = 500;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
/** A sale may be in the books so much later than it was made. */
const LATE = 5000;

export const model = {
  /** As `/v1/state` has it, without its lists. */
  seller: null,
  /** Why the session was lost, while it is away. */
  reason: null,
  apis: [],
  channels: [],
  feeds: [],
  sales: [],
  offers: [],
  /** Sales and earnings by the beginning of their minute and hour, Unix ms. */
  minutes: new Map(),
  hours: new Map(),
  /** Of the latest sales, in µs, the newest last. */
  latencies: [],
  /** The same by channel and seq. */
  latencyOf: new Map(),
  /** Requests that were refused while the page was open, and what the last one was told. */
  refused: { count: 0, last: null },
  live: false,
  /** Until when the figures are right, Unix ms of this machine. */
  asOf: null,
};

let changed = () => {};

/** Says whom to tell which parts have changed. */
export function watch(listener) {
  changed = listener;
}

/** How a sale is known: its channel and the state of it. */
export function saleKey(sale) {
  return `${sale.channel_id} ${sale.seq}`;
}

/** The name of an API: its prefix, for as long as it is sold. */
export function apiName(apiId) {
  return model.apis.find((api) => api.api_id === apiId)?.prefix ?? apiId?.slice(0, 8) ?? "unknown";
}

/** Up to when the minutes and the hours were read; what came before does not change any more. */
let minutesUntil = 0;
let hoursUntil = 0;

const state = new Source(async () => {
  const { apis, channels, feeds, ...seller } = await read("/v1/state");
  clock.set(seller.now);
  // Another life of the service may have another store.
  if (model.seller?.started !== seller.started) minutesUntil = hoursUntil = 0;
  Object.assign(model, { seller, reason: seller.reason, apis, channels, feeds });
  changed("head", "totals", "apis", "channels", "feeds", "sales", "offers");
}, 1000);

const sales = new Source(async () => {
  model.sales = (await read(`/v1/sales?limit=${SALES}`)).sales;
  changed("sales");
}, 250);

const offers = new Source(async () => {
  model.offers = (await read(`/v1/offers?limit=${OFFERS}`)).offers;
  changed("offers");
}, 1000);

const earnings = new Source(async () => {
  if (!model.seller) return earnings.touch();
  const now = clock.now();
  const [hour, minute] = [now - (now % HOUR), now - (now % MINUTE)];
  const since = Math.max(minutesUntil - LATE, minute - 59 * MINUTE);
  await sum(model.minutes, since - (since % MINUTE), MINUTE, "1m", minute - 120 * MINUTE);
  minutesUntil = now;
  if (hour > hoursUntil - LATE) {
    // The hour that runs is the sum of its minutes.
    await sum(model.hours, hour - 23 * HOUR, HOUR, "1h", hour - 48 * HOUR);
    hoursUntil = now;
  }
  changed("totals", "charts");
}, 500);

/** Reads what was earned from a time on, in place of what was known of that; forgets what is older than another. */
async function sum(steps, from, length, step, oldest) {
  const { earnings } = await read(`/v1/earnings?step=${step}&from=${from}000000`);
  for (const start of steps.keys()) {
    if (start >= from || start < oldest) steps.delete(start);
  }
  for (const { start, sales, amount } of earnings) {
    const at = millis(start) - (millis(start) % length);
    const known = steps.get(at) ?? { sales: 0, amount: 0n };
    steps.set(at, { sales: known.sales + sales, amount: known.amount + units(amount) });
  }
}

/** What was earned in each minute of the last hour or each hour of the last day, the latest last. */
export function series(range) {
  const [length, number] = range === "hour" ? [MINUTE, 60] : [HOUR, 24];
  const now = clock.now();
  const last = now - (now % length);
  return Array.from({ length: number }, (_, index) => {
    const start = last - (number - 1 - index) * length;
    const step = range === "hour" ? model.minutes.get(start) : hourOf(start, last);
    return { start, sales: 0, amount: 0n, ...step };
  });
}

function hourOf(start, last) {
  if (start !== last) return model.hours.get(start);
  const sum = { sales: 0, amount: 0n };
  for (const [minute, step] of model.minutes) {
    if (minute < start) continue;
    sum.sales += step.sales;
    sum.amount += step.amount;
  }
  return sum;
}

/** How things stand is read anew. */
function refresh() {
  for (const source of [state, sales, offers, earnings]) source.touch();
}

/** Time passes: what no event tells of is looked at again. */
export function look() {
  state.touch();
  earnings.touch();
}

/** Nothing is asked any more. */
export function rest() {
  for (const source of [state, sales, offers, earnings]) source.rest();
}

/** Hears of an event. */
export function happened(kind, data) {
  if (kind === "reset") return refresh();
  if (kind === "sale") return sold(data);
  if (kind === "balance") {
    model.channels = data.channels;
    return changed("head", "totals", "channels");
  }
  if (kind === "feeds") {
    model.feeds = data.feeds;
    return changed("feeds");
  }
  if (kind === "turned_away") return refusedFor(data.error);
  if (kind === "state") {
    model.reason = data.state === "started" ? null : (data.reason ?? model.reason);
    if (model.seller) model.seller.state = data.state;
    changed("head");
  }
  if (kind === "rotation") rotated(data);
  if (kind === "rotation" || kind === "offer") offers.touch();
  state.touch();
}

function rotated({ api_id, key_id, price, created, rotates, offered }) {
  const api = model.apis.find((api) => api.api_id === api_id);
  if (!api) return;
  api.key = { key_id, price, created, rotates, offered, uses_left: api.count };
  if (api.next_key?.key_id === key_id) api.next_key = null;
  changed("apis", "offers");
}

function sold(sale) {
  if (sale.outcome !== "sold" && sale.outcome !== "repeated")
    return refusedFor(sale.detail ?? sale.outcome);
  model.latencies.push(sale.duration_us);
  model.latencies.splice(0, model.latencies.length - LATENCIES);
  model.latencyOf.set(saleKey(sale), sale.duration_us);
  if (model.latencyOf.size > LATENCIES) model.latencyOf.delete(model.latencyOf.keys().next().value);
  for (const source of [sales, offers, earnings]) source.touch();
  changed("totals");
}

function refusedFor(why) {
  model.refused = { count: model.refused.count + 1, last: why };
  changed("sales");
}
