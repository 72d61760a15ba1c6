// How values are written: the like of words.go, which a test holds this to.

const none = "–";

// visible is a text that somebody else chose, with what cannot be seen, or turns what
// stands beside it around, written out.
export const visible = (s) => String(s ?? "").replace(
  /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
  (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));

export const count = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");

const number = (f) => {
  if (f < 100) f = Math.floor(f * 10 + 0.5) / 10;
  return f >= 100 || f === Math.trunc(f) ? Math.floor(f + 0.5).toFixed(0) : f.toFixed(1);
};

export const size = (n) => {
  let unit = "B";
  for (const u of ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]) {
    if (n < 1023.5) break;
    [n, unit] = [n / 1024, u];
  }
  return number(n) + " " + unit;
};

export const millis = (ms) => {
  if (!(ms > 0)) return none;
  if (ms < 0.05) return "0.1 ms";
  return ms < 999.5 ? number(ms) + " ms" : number(ms / 1000) + " s";
};

// age is how long ago a time is, both in milliseconds; NaN if there was none.
export const age = (then, now) => {
  if (Number.isNaN(then)) return none;
  const s = Math.max(0, Math.floor((now - then) / 1000));
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min";
  if (s < 86400) return Math.floor(s / 3600) + " h " + Math.floor(s / 60) % 60 + " min";
  return Math.floor(s / 86400) + " d " + Math.floor(s / 3600) % 24 + " h";
};

// field is a value of an object by its name, or by names with points between.
export const field = (o, name) => name === "." ? o : name.split(".").reduce((v, k) => v?.[k], o);
