// Earnings and sales over time, as bars; the same as a table for whoever does not see them.

import { counted, share, shown } from "./amounts.js";
import { at, make, say } from "./dom.js";
import { series } from "./model.js";
import { minuteOfDay } from "./times.js";

const SVG = "http://www.w3.org/2000/svg";
/** Whatever was sold shows, in hundredths of the height. */
const LEAST = 1.5;
const RANGES = {
  hour: { step: "minute", long: "by minute over the last hour" },
  day: { step: "hour", long: "by hour over the last day" },
};
const CHARTS = [
  { title: "Earned", of: (step) => step.amount, text: (amount) => `${shown(amount)} XBR` },
  {
    title: "Keys sold",
    of: (step) => BigInt(step.sales),
    text: (sales) => counted(Number(sales), "key"),
  },
];

let range = "hour";
let drawn = null;

/** Begins, and hears of the choice of the time. */
export function beginCharts() {
  for (const choice of document.querySelectorAll('input[name="range"]')) {
    // A browser may remember the choice when the page is loaded again.
    if (choice.checked) range = choice.value;
    choice.addEventListener("change", () => {
      range = choice.value;
      drawCharts();
    });
  }
}

/** Both charts. */
export function drawCharts() {
  const steps = series(range);
  if (drawn?.range !== range) {
    const charts = CHARTS.map((chart) => new Chart(chart, steps.length));
    drawn = { range, charts };
    at("charts").replaceChildren(...charts.map((chart) => chart.figure));
  }
  drawn.charts.forEach((chart) => chart.draw(steps));
}

class Chart {
  constructor(chart, number) {
    this.chart = chart;
    this.most = make("span", { class: "quiet" });
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("viewBox", `0 0 ${number * 10} 100`);
    this.svg.setAttribute("preserveAspectRatio", "none");
    this.svg.setAttribute("role", "img");
    this.bars = Array.from({ length: number }, (_, index) => {
      const bar = document.createElementNS(SVG, "rect");
      bar.setAttribute("x", index * 10 + 1.5);
      bar.setAttribute("width", 7);
      bar.append(document.createElementNS(SVG, "title"));
      return bar;
    });
    this.svg.append(...this.bars);
    this.axis = ["", "", ""].map(() => make("span"));
    this.rows = make("tbody");
    const head = make(
      "tr",
      {},
      ...["From", chart.title].map((text) => make("th", { scope: "col" }, text)),
    );
    const table = make(
      "table",
      {},
      make("caption", { class: "unseen" }, chart.title),
      make("thead", {}, head),
      this.rows,
    );
    // It can be scrolled, so the keyboard must get there.
    const scroll = make(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": `${chart.title}, table` },
      table,
    );
    this.details = make("details", {}, make("summary", {}, `${chart.title} as a table`), scroll);
    this.details.addEventListener("toggle", () => this.fill());
    this.figure = make(
      "figure",
      { class: "chart" },
      make("figcaption", {}, make("strong", {}, chart.title), this.most),
      make("div", { class: "plot" }, this.svg),
      make("div", { class: "axis", "aria-hidden": "true" }, ...this.axis),
      this.details,
    );
  }

  draw(steps) {
    this.steps = steps;
    const { of, text, title } = this.chart;
    const values = steps.map(of);
    const most = values.reduce((most, value) => (value > most ? value : most), 0n);
    const sum = values.reduce((sum, value) => sum + value, 0n);
    this.bars.forEach((bar, index) => {
      const value = values[index];
      const height = value > 0n ? Math.max(LEAST, share(value, most) * 100) : 0;
      bar.setAttribute("y", 100 - height);
      bar.setAttribute("height", height);
      say(bar.firstChild, `${minuteOfDay(steps[index].start)}: ${text(value)}`);
    });
    const { step, long } = RANGES[range];
    say(this.most, most > 0n ? `at most ${text(most)} in one ${step}` : "nothing yet");
    this.svg.setAttribute(
      "aria-label",
      `${title} ${long}: ${text(sum)} in all, at most ${text(most)} in one ${step}`,
    );
    const middle = steps[Math.floor(steps.length / 2)];
    [steps[0], middle].forEach((step, index) => say(this.axis[index], minuteOfDay(step.start)));
    say(this.axis[2], "now");
    this.fill();
  }

  /** The table is filled while it is open. */
  fill() {
    if (!this.details.open || !this.steps) return;
    const rows = this.steps.toReversed().map((step) => {
      const text = this.chart.text(this.chart.of(step));
      return make("tr", {}, make("th", { scope: "row" }, minuteOfDay(step.start)), make("td", {}, text));
    });
    this.rows.replaceChildren(...rows);
  }
}
