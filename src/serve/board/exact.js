// Exact decimals. Money comes as decimal text and stays text: it is added with whole numbers and never passes a float.

/** Reads JSON; numbers that a float can't be trusted with (a fraction, or more than 15 digits) stay text. */
export function parseExact(text) {
  const token = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
  return JSON.parse(text.replace(token, (found) => {
    if (found.startsWith('"')) return found;
    return /[.eE]/.test(found) || found.length > 15 ? `"${found}"` : found;
  }));
}

function scaled(text, scale) {
  const [whole, fraction = ""] = String(text).split(".");
  return BigInt(whole + fraction.padEnd(scale, "0"));
}

/** The sum of decimal texts, NULL left out; NULL if there is nothing else. */
export function sum(values) {
  const known = values.filter((value) => value !== null && value !== undefined);
  if (known.length === 0) return null;
  const scale = known.reduce((most, value) => Math.max(most, (String(value).split(".")[1] ?? "").length), 0);
  const total = known.reduce((total, value) => total + scaled(value, scale), 0n);
  if (scale === 0) return String(total);
  const digits = String(total < 0n ? -total : total).padStart(scale + 1, "0");
  return `${total < 0n ? "-" : ""}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

/** As people read it: thousands apart, zeros at the end gone, the digits behind the cents by themselves. */
export function money(text) {
  const negative = text.startsWith("-");
  const [whole, fraction = ""] = text.replace("-", "").split(".");
  const digits = fraction.replace(/0+$/, "").padEnd(2, "0");
  return {
    main: `${negative ? "−" : ""}${whole.replace(/\B(?=(\d{3})+$)/g, ",")}.${digits.slice(0, 2)}`,
    rest: digits.slice(2),
  };
}
