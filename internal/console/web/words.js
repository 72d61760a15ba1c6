// How values are written, and charts drawn: the like of words.go and chart.go, which the
// tests hold this to.

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

const slots = 60, width = 600, height = 120;

// roundUp is the least round number that is not less.
export const roundUp = (most, unit) => {
  if (unit === "bytes") {
    let top = 1024;
    while (top < most) top *= 2;
    return top;
  }
  for (let top = 1; ; top *= 10)
    for (const n of [1, 2, 5])
      if (n * top >= most) return n * top;
};

// path draws values as steps: with the area below them, or as a line with gaps.
export const path = (values, top, filled) => {
  const slot = width / slots;
  let d = "", x = width - slot * values.length, drawn = false;
  const close = () => { if (filled && drawn) d += "V" + height + "Z"; };
  for (const v of values) {
    const y = Math.floor((height - v / top * height) * 10 + 0.5) / 10, to = "H" + (x + slot);
    if (v === 0) {
      close();
      drawn = false;
    } else {
      if (drawn) d += "V" + y + to;
      else d += filled ? "M" + x + " " + height + "V" + y + to : "M" + x + " " + y + to;
      drawn = true;
    }
    x += slot;
  }
  close();
  return d;
};

// field is a value of an object by its name, or by names with points between.
export const field = (o, name) => name === "." ? o : name.split(".").reduce((v, k) => v?.[k], o);

// chart is what a picture with these series shows of an hour.
export const chart = (minutes, unit, keys) => {
  const shown = minutes.slice(-slots), all = keys.map((key) => {
    const values = shown.map((m) => { const v = field(m, key); return v > 0 && Number.isFinite(v) ? v : 0; });
    return {values, last: values.at(-2) ?? 0, peak: Math.max(0, ...values)};
  });
  const most = Math.max(...all.map((s) => s.peak)), top = roundUp(most, unit);
  const say = {bytes: size, ms: millis, count}[unit];
  all.forEach((s, i) => { s.path = path(s.values, top, i === 0); s.last = say(s.last); s.peak = say(s.peak); });
  return {series: all, top: say(top), empty: most === 0};
};

// text says what the picture shows.
export const text = (c, names) => c.empty ? "Nothing in the last hour." :
  c.series.map((s, i) => `${names[i]}: ${s.last} in the last full minute, at most ${s.peak}.`).join(" ");
