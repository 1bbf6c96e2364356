// Times: the service's clock, which the page follows, and how times and durations are shown.

const PARTS = {
  year: 31557600e3,
  month: 2630016e3,
  day: 86400e3,
  h: 3600e3,
  m: 60e3,
  s: 1e3,
  ms: 1,
  us: 1e-3,
  ns: 1e-6,
};
const two = (number) => String(number).padStart(2, "0");

/** The service's clock: the page may run on another machine, whose clock is another. */
export const clock = {
  ahead: 0,
  /** The service said that it is this time now. */
  set(text) {
    this.ahead = millis(text) - Date.now();
  },
  /** Unix time in ms. */
  now() {
    return Date.now() + this.ahead;
  },
};

/** The Unix time in ms of an RFC 3339 text, which may have more decimals than the browser reads. */
export function millis(text) {
  return Date.parse(text.replace(/(\.\d{3})\d*/, "$1"));
}

/** "14:03:07" here, of a Unix time in ms. */
export function timeOfDay(ms) {
  const date = new Date(ms);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** "14:03" here, of a Unix time in ms. */
export function minuteOfDay(ms) {
  return timeOfDay(ms).slice(0, 5);
}

/** When, for a list: the time of day, with the day if that is another one. */
export function whenShown(ms) {
  const [date, today] = [new Date(ms), new Date(clock.now())];
  const time = timeOfDay(ms);
  if (date.toDateString() === today.toDateString()) return time;
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${time}`;
}

/** How long until something: "8 s", "4:05", "1 h 12 min", "3 days". */
export function until(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}:${two(seconds % 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} days`;
}

/** The ms of a duration as the service writes it: "1h 30m 5s 250ms". */
export function durationMillis(text) {
  let sum = 0;
  for (const [, number, unit] of text.matchAll(/(\d+)\s*([a-z]+)/g)) {
    sum += Number(number) * (PARTS[unit] ?? PARTS[unit.replace(/s$/, "")] ?? 0);
  }
  return sum;
}

/** A latency in µs: "480 µs", "3.2 ms", "1.25 s", which no line breaks. */
export function latency(us) {
  if (us < 1000) return `${us}\u00a0µs`;
  if (us < 1e5) return `${(us / 1e3).toFixed(1)}\u00a0ms`;
  if (us < 1e6) return `${Math.round(us / 1e3)}\u00a0ms`;
  return `${(us / 1e6).toFixed(2)}\u00a0s`;
}
