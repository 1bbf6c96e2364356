// What was earned and sold in all, of late, and how long sales take.

import { counted, shown, units } from "./amounts.js";
import { at, make, say } from "./dom.js";
import { model, series } from "./model.js";
import { latency } from "./times.js";

const SVG = "http://www.w3.org/2000/svg";
/** How many sales the small line shows. */
const SHOWN = 60;

/** The row of figures. */
export function drawTotals() {
  if (model.seller) {
    const sales = model.channels.reduce((sum, channel) => sum + channel.sales, 0);
    drawFigure("total", total(model.channels, "earned"), counted(sales, "key") + " sold");
  }
  for (const range of ["hour", "day"]) {
    const steps = series(range);
    const sales = steps.reduce((sum, step) => sum + step.sales, 0);
    const amount = steps.reduce((sum, step) => sum + step.amount, 0n);
    drawFigure(range, amount, counted(sales, "key") + " sold");
  }
  drawLatency();
}

/** The sum of some amounts, as a figure: whole XBR large, what is behind the point small. */
function figure(amount) {
  const [whole, decimals] = shown(amount).split(".");
  const rest = decimals ? make("span", { class: "rest" }, `.${decimals}`) : null;
  return [whole, rest, make("span", { class: "unit" }, "XBR")].filter((part) => part !== null);
}

/** The sum of what a list has in a field, exact. */
function total(list, field) {
  return list.reduce((sum, item) => sum + units(item[field]), 0n);
}

function drawFigure(name, amount, sales) {
  const place = at(`${name}-earned`);
  const parts = figure(amount);
  const text = parts.map((part) => part.textContent ?? part).join("");
  if (place.textContent !== text) place.replaceChildren(...parts);
  say(at(`${name}-sales`), sales);
}

function drawLatency() {
  const { latencies } = model;
  if (latencies.length === 0) {
    say(at("latency"), "–");
    say(at("latency-more"), "No sale since this page was opened");
    return;
  }
  const sorted = latencies.toSorted((a, b) => a - b);
  const quantile = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  say(at("latency"), latency(quantile(0.5)));
  const [p95, most] = [latency(quantile(0.95)), latency(sorted.at(-1))];
  say(at("latency-more"), `${counted(sorted.length, "sale")} · 95 % in ${p95} · max ${most}`);
  drawLine(latencies.slice(-SHOWN));
}

/** The latest latencies; the figures beside it say the same in words. */
function drawLine(values) {
  const place = at("latency-chart");
  if (!place.firstChild) {
    const svg = document.createElementNS(SVG, "svg");
    for (const [name, value] of [
      ["viewBox", "0 0 100 40"],
      ["preserveAspectRatio", "none"],
      ["aria-hidden", "true"],
    ]) {
      svg.setAttribute(name, value);
    }
    svg.append(document.createElementNS(SVG, "path"));
    place.append(svg);
  }
  const most = Math.max(...values);
  const step = 100 / Math.max(1, SHOWN - 1);
  const from = 100 - (values.length - 1) * step;
  const points = values.map(
    (value, index) => `${(from + index * step).toFixed(1)},${(38 - (36 * value) / most).toFixed(1)}`,
  );
  place.querySelector("path").setAttribute("d", values.length > 1 ? `M${points.join("L")}` : "");
}
