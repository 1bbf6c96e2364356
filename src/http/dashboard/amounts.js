// Amounts of XBR: exact decimal texts with up to 18 decimals. They are added as whole numbers of the smallest unit;
// what becomes a number of the browser's own is only ever drawn.

const DECIMALS = 18;

/** An amount's text in the smallest unit. */
export function units(text) {
  const [whole, decimals = ""] = text.split(".");
  return BigInt(whole + decimals.padEnd(DECIMALS, "0"));
}

/** The text of an amount in the smallest unit, exact, with its thousands apart: "1,234.5". */
export function shown(amount) {
  const digits = amount.toString().padStart(DECIMALS + 1, "0");
  const whole = digits.slice(0, -DECIMALS).replace(/\B(?=(\d{3})+$)/g, ",");
  const decimals = digits.slice(-DECIMALS).replace(/0+$/, "");
  return decimals ? `${whole}.${decimals}` : whole;
}

/** How much of a whole a part is, from 0 to 1, to be drawn. */
export function share(part, whole) {
  if (whole <= 0n) return 0;
  const thousandths = Number((part * 10000n) / whole) / 10000;
  return Math.min(1, Math.max(0, thousandths));
}

/** A number with its thousands apart. */
export function count(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** "1 key", "2 keys". */
export function counted(number, what, many = `${what}s`) {
  return `${count(number)} ${number === 1 ? what : many}`;
}
