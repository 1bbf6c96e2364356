// The top of the page: how the seller stands, whether this page is up to date, and what needs somebody.

import { counted } from "./amounts.js";
import { at, brief, keep, make, say, tell } from "./dom.js";
import { model } from "./model.js";
import { millis, timeOfDay, whenShown } from "./times.js";

const STATES = {
  none: ["Not started", "warn"],
  starting: ["Joining the market", "warn"],
  started: ["Selling", "good"],
  stopping: ["Stopping", "warn"],
  stopped: ["Stopped", "bad"],
};

/** How the seller stands, and the alarms. */
export function drawHead() {
  const { seller } = model;
  if (!seller) return;
  const [text, tone] = STATES[seller.state] ?? [seller.state, "warn"];
  tell(at("seller-state"), text, tone);
  say(at("who"), `${brief(seller.address)} sells through market maker ${brief(seller.market_maker)}`);
  say(at("parties"), `Seller ${seller.address}, market maker ${seller.market_maker}`);
  say(at("about"), `xbr-seller ${seller.version}, running since ${whenShown(millis(seller.started))}`);
  drawAlarms(alarms());
}

/** Whether this page is up to date. */
export function drawConnection() {
  const pill = at("connection");
  if (model.live) tell(pill, "Live", "good");
  else if (model.asOf) tell(pill, `Not connected, shown as of ${timeOfDay(model.asOf)}`, "bad");
  else tell(pill, "Not connected", "bad");
}

function drawAlarms(alarms) {
  const region = at("alarms");
  const list = region.firstElementChild ?? make("ul", { role: "list" });
  const create = ({ tone, title, text }) =>
    make("li", { "data-tone": tone }, make("strong", {}, title), text);
  keep(list, alarms, ({ title, text }) => title + text, create);
  // An empty list is nothing to be read out.
  if (alarms.length === 0) list.remove();
  else if (!list.parentElement) region.append(list);
}

/** What needs somebody, the worst first. */
function alarms() {
  const { seller, reason } = model;
  const alarms = model.channels.flatMap(ofChannel);
  if (seller.state === "started" && model.channels.every((channel) => channel.closed)) {
    alarms.push(
      alarm("bad", "No open channel", "Nothing can be sold: ask the market's operator to open one."),
    );
  }
  if (seller.state === "none" || seller.state === "starting") {
    const why = reason
      ? `${reason}. It comes back by itself.`
      : "Joining and reconciling is not through yet.";
    alarms.push(alarm("warn", "No session with the market", why));
  }
  alarms.push(...model.apis.flatMap(ofApi));
  return alarms.sort((a, b) => (a.tone === "bad" ? 0 : 1) - (b.tone === "bad" ? 0 : 1)).slice(0, 10);
}

function alarm(tone, title, text) {
  return { tone, title, text };
}

function ofChannel(channel) {
  const id = brief(channel.channel_id);
  const found = [];
  if (channel.alarm?.kind === "outdated") {
    const text =
      "The store is older than what was signed: put the latest one back before anything is sold.";
    found.push(alarm("bad", `Channel ${id} is halted`, text));
  } else if (channel.alarm) {
    const { ours, theirs } = channel.alarm;
    const text =
      `The market maker is at state ${theirs.seq}, behind ${ours.seq}, which it has signed: ` +
      "settle it with the market's operator.";
    found.push(alarm("bad", `Channel ${id} is halted`, text));
  }
  if (channel.contradictions > 0) {
    const times = counted(channel.contradictions, "time");
    const text = `The market maker has signed what contradicts its books, ${times}: see the log.`;
    found.push(alarm("warn", `Channel ${id}`, text));
  }
  if (channel.low && !channel.closed) {
    // What remains is in the gauge: an alarm is not read out anew with each sale.
    const text = "Ask the market's operator to open another channel before nothing remains.";
    found.push(alarm("warn", `Low balance on channel ${id}`, text));
  }
  return found;
}

function ofApi(api) {
  if (api.paused || !api.key || api.key.offered || !api.last_error) return [];
  return [
    alarm("warn", `${api.prefix} is not offered`, `${api.last_error}. It is offered again by itself.`),
  ];
}
