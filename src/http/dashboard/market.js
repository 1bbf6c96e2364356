// The other side of the market: the paying channels, the offers, and the feeds that the payloads come from.

import { count, counted, share, shown, units } from "./amounts.js";
import { at, brief, empty, keep, make, mark, say, shortId, tell } from "./dom.js";
import { apiName, model } from "./model.js";
import { clock, millis, until } from "./times.js";
import { setShare } from "./track.js";

/** So many channels are shown; /v1/channels has them all. */
const CHANNELS = 6;
const FEEDS = 12;

const FEED_TONES = { running: "good", waiting: "quiet", held: "warn", ended: "quiet", failed: "bad" };

/** A gauge for each channel, the open ones first. */
export function drawChannels() {
  const list = at("channels");
  const channels = model.channels
    .toSorted((a, b) => Number(a.closed) - Number(b.closed))
    .slice(0, CHANNELS);
  if (channels.length > 0) {
    if (!list.kept) list.replaceChildren();
    keep(list, channels, (channel) => channel.channel_id, createChannel, updateChannel);
  } else if (!list.firstChild && model.seller) {
    list.append(
      make(
        "li",
        {},
        empty("No channel yet", "The market's operator opens one for this seller's address."),
      ),
    );
  }
  const more = model.channels.length - channels.length;
  say(at("channels-note"), more > 0 ? `and ${more} more, at /v1/channels` : "");
}

function createChannel(channel) {
  const what = `What remains in channel ${brief(channel.channel_id)}`;
  const fill = make("i");
  const limits = { "aria-valuemin": "0", "aria-valuemax": "100" };
  return make(
    "li",
    {},
    make("div", { class: "top" }, shortId(channel.channel_id), make("p", { class: "pill small" })),
    make("div", { class: "count" }, make("span", { class: "quiet" }, "Remaining"), make("span")),
    make("div", { class: "track", role: "meter", "aria-label": what, ...limits }, fill),
    make("p", { class: "facts" }),
  );
}

function updateChannel(element, channel) {
  const [top, line, bar, facts] = element.children;
  const [text, tone] = standing(channel);
  tell(top.lastChild, text, tone);
  const [amount, remaining] = [units(channel.amount), units(channel.remaining)];
  const value = `${shown(remaining)} of ${shown(amount)} XBR`;
  say(line.lastChild, value);
  mark(bar, "data-tone", tone === "good" ? null : tone);
  setShare(bar, bar.firstChild, share(remaining, amount), value);
  const parts = [
    `earned ${shown(units(channel.earned))} XBR`,
    counted(channel.sales, "sale"),
    `state ${channel.seq}`,
  ];
  for (const [field, what] of [
    ["in_flight", "in flight"],
    ["unconfirmed", "unconfirmed"],
    ["surplus", "surplus"],
  ]) {
    const part = units(channel[field]);
    if (part > 0n) parts.push(`${shown(part)} XBR ${what}`);
  }
  say(facts, parts.join(" · "));
}

function standing(channel) {
  if (channel.closed) return ["Closed", "quiet"];
  if (channel.alarm)
    return [channel.alarm.kind === "outdated" ? "Halted: old store" : "Halted: rolled back", "bad"];
  return channel.low ? ["Low balance", "warn"] : ["Open", "good"];
}

let offerRows = null;

/** The latest offers. */
export function drawOffers() {
  const place = at("offers");
  if (model.offers.length > 0) {
    if (!offerRows) beginOffers(place);
    keep(offerRows, model.offers, (offer) => offer.key_id, createOffer, updateOffer);
  } else if (model.seller && (offerRows || !place.firstChild)) {
    offerRows = null;
    place.replaceChildren(
      empty("Nothing is offered", "A key is for sale as soon as the market maker takes its offer."),
    );
  }
}

function beginOffers(place) {
  const heads = [
    ["Key", "key-id"],
    ["API", ""],
    ["Price", "number"],
    ["Sold", "number sold"],
  ];
  const head = make(
    "tr",
    {},
    ...heads.map(([text, name]) => make("th", { scope: "col", class: name }, text)),
  );
  offerRows = make("tbody");
  const caption = make("caption", { class: "unseen" }, "The keys that were offered last");
  place.replaceChildren(make("table", { class: "offers" }, caption, make("thead", {}, head), offerRows));
}

function createOffer(offer) {
  const price = make("td", { class: "number" }, shown(units(offer.price)));
  const key = make("th", { scope: "row" }, shortId(offer.key_id));
  return make("tr", {}, key, make("td", { class: "name" }), price, make("td", { class: "number" }));
}

function updateOffer(row, offer) {
  const [key, api, price, sold] = row.cells;
  say(api, apiName(offer.api_id));
  say(sold, count(offer.sales));
  const expires = offer.expires
    ? `expires in ${until(millis(offer.expires) - clock.now())}`
    : "does not expire";
  price.title = `${expires}, earned ${offer.earned} XBR`;
  key.firstChild.title = offer.key_id;
}

/** The feeds, if there are any. */
export function drawFeeds() {
  const feeds = model.feeds.slice(0, FEEDS);
  at("feeds-panel").hidden = feeds.length === 0;
  keep(at("feeds"), feeds, (feed) => `${feed.feed} ${feed.api_id} ${feed.uri}`, createFeed, updateFeed);
}

function createFeed(feed) {
  const top = make(
    "div",
    { class: "top" },
    make("span", { class: "name" }, feed.feed),
    make("p", { class: "pill small" }),
  );
  return make("li", {}, top, make("p", { class: "facts" }), make("p", { class: "error", hidden: true }));
}

function updateFeed(element, feed) {
  const [top, facts, error] = element.children;
  tell(
    top.lastChild,
    feed.state[0].toUpperCase() + feed.state.slice(1),
    FEED_TONES[feed.state] ?? "quiet",
  );
  const parts = [`to ${feed.uri}`, `${count(feed.published)} of ${counted(feed.read, "line")} published`];
  for (const [field, what] of [
    ["pending", "pending"],
    ["skipped", "skipped"],
    ["refused", "refused"],
    ["given_up", "given up"],
    ["dropped", "lost"],
  ]) {
    if (feed[field] > 0) parts.push(`${count(feed[field])} ${what}`);
  }
  if (feed.lag_ms > 1000) parts.push(`waiting for ${until(feed.lag_ms)}`);
  say(facts, parts.join(" · "));
  error.hidden = !feed.error;
  say(error, feed.error ?? "");
}
