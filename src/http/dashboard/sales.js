// The latest sales, and the receipt of each.

import { counted, shown, units } from "./amounts.js";
import { at, brief, copier, empty, keep, make, mark, say, shortId } from "./dom.js";
import { apiName, model, saleKey } from "./model.js";
import { download, hasToken, save } from "./service.js";
import { latency, millis, whenShown } from "./times.js";

const FIELDS = [
  ["sold", "Sold"],
  ["amount", "Amount"],
  ["api_id", "API"],
  ["key_id", "Key"],
  ["buyer_key", "Buyer's public key"],
  ["channel_id", "Channel"],
  ["seq", "State of the channel after it (seq)"],
  ["remaining", "Remaining after it"],
  ["surplus", "Beyond the amount"],
  ["market_maker_signature", "Signature of the market maker"],
  ["signature", "Signature of the seller"],
];

let rows = null;
let began = false;

/** Begins: the links to all sales, and the dialog. */
export function beginSales() {
  at("sales-links").append(
    "All with receipts:",
    ...[
      ["CSV", "csv", "csv"],
      ["JSON lines", "ndjson", "jsonl"],
    ].map(([name, format, ending]) => saving(name, `/v1/sales?format=${format}`, `sales.${ending}`)),
  );
  at("receipt-close").addEventListener("click", () => at("receipt").close());
}

/** A link to a file; a token cannot be in a link, so then the page fetches it. */
function saving(name, path, file) {
  const link = make("a", { href: path, download: file }, name);
  link.addEventListener("click", (event) => {
    if (!hasToken()) return;
    event.preventDefault();
    download(path, file).catch((error) => say(at("said"), error.message));
  });
  return link;
}

/** The table. */
export function drawSales() {
  const { sales, refused } = model;
  if (sales.length > 0) {
    if (!rows) begin();
    keep(rows, sales, saleKey, create, update);
    began = true;
  } else if (!at("sales").firstChild && model.seller) {
    at("sales").append(
      empty("No sale yet", "A buyer pays for a key when an event comes that it is to decrypt."),
    );
  }
  const requests = counted(refused.count, "request");
  const text = `${requests} refused since this page was opened; the last one: ${refused.last}`;
  say(at("refused"), refused.count > 0 ? text : "");
}

function begin() {
  const heads = [
    ["Time", "time"],
    ["API", ""],
    ["Key", "less"],
    ["Amount", "number"],
    ["Latency", "number less"],
  ];
  const head = make(
    "tr",
    {},
    ...heads.map(([text, name]) => make("th", { scope: "col", class: name }, text)),
  );
  head.append(make("th", { scope: "col", class: "number receipt" }, "Receipt"));
  rows = make("tbody");
  const caption = make("caption", { class: "unseen" }, "The latest sales, the newest first");
  at("sales").replaceChildren(make("table", { class: "sales" }, caption, make("thead", {}, head), rows));
}

function create(sale) {
  const sold = sale.sold ? millis(sale.sold) : null;
  const when = sold
    ? make("time", { dateTime: sale.sold, title: sale.sold }, whenShown(sold))
    : "unknown";
  const key = shortId(sale.key_id);
  const receipt = make("button", { type: "button", class: "small" }, "Receipt");
  mark(receipt, "aria-label", `Receipt of the sale for ${sale.amount} XBR, state ${sale.seq}`);
  receipt.addEventListener("click", () => open(sale));
  const row = make(
    "tr",
    { class: began ? "fresh" : "" },
    make("td", {}, when),
    make("td", { class: "name" }),
    make("td", { class: "less" }, key),
    make("td", { class: "number" }, shown(units(sale.amount))),
    make("td", { class: "number less quiet" }),
    make("td", { class: "number" }, receipt),
  );
  row.addEventListener("animationend", () => row.classList.remove("fresh"));
  return row;
}

function update(row, sale) {
  say(row.cells[1], apiName(sale.api_id));
  const took = model.latencyOf.get(saleKey(sale));
  say(row.cells[4], took === undefined ? "–" : latency(took));
}

function open(sale) {
  const fields = FIELDS.flatMap(([name, label]) => {
    const value = sale[name];
    if (value === null || (name === "surplus" && value === "0")) return [];
    return [
      make("dt", {}, label),
      make("dd", { class: name === "amount" ? "" : "id" }, text(name, value)),
    ];
  });
  const json = make("button", { type: "button" }, "Save as JSON");
  json.addEventListener("click", () => {
    const blob = new Blob([JSON.stringify(sale, null, 2), "\n"], { type: "application/json" });
    save(blob, `receipt-${brief(sale.channel_id)}-${sale.seq}.json`);
  });
  const copy = copier("receipt", () => JSON.stringify(sale));
  const why = "Both sides have signed what remains in the channel after this sale (EIP-712).";
  at("receipt-body").replaceChildren(
    make("p", { class: "quiet" }, why),
    make("dl", { class: "fields" }, ...fields),
    make("div", { class: "buttons" }, json, copy ?? ""),
  );
  at("receipt").showModal();
}

function text(name, value) {
  if (name === "api_id") return `${apiName(value)} (${value})`;
  if (["amount", "remaining", "surplus"].includes(name)) return `${value} XBR`;
  return String(value);
}
