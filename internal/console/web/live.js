// Keeps a page up to date. Each event of the stream has the JSON that the API gives, and
// this puts its values where the server put them: it copies rows that the server made and
// sets text, never HTML.
import {age, count, field, millis, size, visible} from "./words.js";

const body = document.body, state = document.getElementById("state"), pause = document.getElementById("pause");
const skew = Date.now() - Number(body.dataset.now); // of this clock
const retry = 5000;

// How values are written, by the data-as of who shows them: the text, and what to say of it
// exactly.
const writers = {
  age: (v, el) => {
    const at = typeof v === "string" && !v.startsWith("0001-") ? v : "";
    el.dateTime = at;
    return [age(Date.parse(at), Date.now() - skew), at];
  },
  clock: (v) => [new Date(v).toISOString().slice(11, 16), v],
  count: (v) => [count(v ?? 0)],
  if: (v) => [v.length ? visible(v.join(" and ")) : "everything"],
  known: (v) => [v < 0 ? "–" : count(v)],
  length: (v) => [count(v?.length ?? 0)],
  list: (v) => [visible(v.join(", "))],
  millis: (v) => [millis(v)],
  path: (v) => [visible((v ?? []).join(" → "))],
  percent: (v) => [v + " %"],
  rate: (v) => [size(v) + "/s", count(v) + " bytes a second"],
  ready: (v) => [v ? "ready" : "not ready"],
  size: (v) => [size(v), count(v) + " bytes"],
};

const isThere = (v) => Array.isArray(v) ? v.length > 0 : typeof v === "number" ? v >= 0 : Boolean(v);
const setText = (el, t) => { if (el.textContent !== t) el.textContent = t; };

function write(el, value) {
  const writer = writers[el.dataset.as];
  const [t, exact] = writer ? writer(value, el) : [value === 0 ? "" : visible(value)];
  setText(el, t);
  if (el.title || el.hasAttribute("title")) el.title = exact ?? t;
  if (el.dataset.link) el.href = el.dataset.link + encodeURIComponent(value);
}

// own are the elements with an attribute below el, and el itself, that belong to its object
// and not to one of a list inside.
function own(el, attribute) {
  const list = el.parentElement?.closest("[data-list]") ?? null;
  const all = [...el.querySelectorAll(`[${attribute}]`)];
  if (el.hasAttribute(attribute)) all.unshift(el);
  return all.filter((e) => (e.parentElement?.closest("[data-list]") ?? null) === list);
}

// fill shows an object in el.
function fill(el, object) {
  for (const e of own(el, "data-f")) write(e, field(object, e.dataset.f));
  for (const e of own(el, "data-set")) e.dataset[e.dataset.set] = field(object, e.dataset.set);
  for (const e of own(el, "data-d")) e.setAttribute("d", field(object, e.dataset.d));
  for (const e of own(el, "data-value")) e.value = field(object, e.dataset.value);
  for (const e of own(el, "data-if")) e.hidden = !isThere(field(object, e.dataset.if));
  for (const e of own(el, "data-unless")) e.hidden = isThere(field(object, e.dataset.unless));
  for (const e of own(el, "data-list")) fillList(e, field(object, e.dataset.list) ?? []);
}

// holds reports whether somebody points at a row of the list, or has come to it by keyboard.
// Touch leaves a hover behind that means nothing.
const pointer = matchMedia("(hover: hover)");
const holds = (list) => pointer.matches && list.matches(":hover") || list.querySelector(":focus-visible") !== null;

const rowsOf = (list) => [...list.children].filter((e) => e.localName !== "template");
const keys = {connections: "id", failures: "id", egresses: "name", tors: "name", open_circuits: "id", minutes: "at"};

// fillList makes the rows of a list those of the items. Rows of a list that holds do not move
// or go: nobody shall close what has just slipped under the mouse, or lose the focus.
function fillList(list, items) {
  const key = keys[list.dataset.list], template = list.querySelector(":scope > template");
  if (list.dataset.order === "reverse") items = items.toReversed();
  const old = new Map(rowsOf(list).map((row, i) => [key ? row.dataset.key : String(i), row]));
  const hold = key === "id" && holds(list);
  let next = list.firstElementChild;
  items.forEach((item, i) => {
    const k = String(key ? item[key] : i);
    let row = old.get(k);
    old.delete(k);
    if (!row) {
      if (hold) return;
      row = template.content.firstElementChild.cloneNode(true);
      if (key) row.dataset.key = k;
    }
    if (hold && row.isConnected) {
      fill(row, item);
      return;
    }
    if (row === next) next = next.nextElementSibling;
    else list.insertBefore(row, next);
    fill(row, item);
  });
  for (const row of old.values()) {
    if (hold) goneFrom(row);
    else row.remove();
  }
}

// goneFrom marks a row whose connection has ended.
function goneFrom(row) {
  row.dataset.gone = "";
  for (const b of row.querySelectorAll("button")) {
    b.setAttribute("aria-disabled", "true");
    setText(b.firstChild, "Ended");
  }
}

const sections = [...document.querySelectorAll("[data-about]")];
const shown = new Map(); // what was told last, by section

function show(section, told) {
  shown.set(section, told);
  fill(section, told);
}

// What a list held back comes when it does not hold any more.
function letGo(e) {
  const section = e.currentTarget, told = shown.get(section);
  if (told) requestAnimationFrame(() => show(section, told));
}
for (const section of sections) {
  section.addEventListener("mouseleave", letGo);
  section.addEventListener("focusout", letGo);
}

// The stream. It is open while somebody can see the page: browsers allow six connections to
// a host, and a seventh page would wait for ever.
let source, again;
const wanted = () => pause.getAttribute("aria-pressed") !== "true" && document.visibilityState === "visible";

function tell(name, words) {
  state.dataset.state = name;
  setText(state, words);
}

function stop() {
  source?.close();
  source = undefined;
  clearTimeout(again);
}

function start() {
  stop();
  if (!wanted()) return;
  source = new EventSource(body.dataset.stream);
  source.onopen = () => tell("live", "Live");
  source.onerror = () => {
    if (source.readyState !== EventSource.CLOSED) tell("lost", "Connecting…");
    else refused();
  };
  for (const section of sections) source.addEventListener(section.dataset.about, (e) => show(section, JSON.parse(e.data)));
}

// refused finds out why there is no stream, which an EventSource does not tell.
async function refused() {
  stop();
  try {
    const r = await fetch("/api/v1/status");
    if (r.status === 401) {
      tell("lost", "Signed out. Run “hosier console” for another link.");
      return;
    }
    tell("lost", "Not live: too many pages are open.");
  } catch {
    tell("lost", "hosier does not answer.");
  }
  again = setTimeout(start, retry);
}

// closing ends connections without leaving the page. The answer is an event of the stream.
async function closing(e) {
  const button = e.submitter;
  if (!button || button.name !== "id") return;
  e.preventDefault();
  if (button.getAttribute("aria-disabled")) return;
  const row = button.closest("tr");
  button.setAttribute("aria-disabled", "true");
  const r = await fetch("/api/v1/connections/" + button.value, {method: "DELETE", headers: {"X-Csrf-Token": body.dataset.csrf}}).catch(() => null);
  if (r && (r.ok || r.status === 404)) goneFrom(row);
  else {
    button.removeAttribute("aria-disabled");
    tell("lost", r?.status === 401 || r?.status === 403 ? "Signed out. Nothing was closed." : "hosier does not answer. Nothing was closed.");
  }
}

function sinceTicks() {
  if (pause.getAttribute("aria-pressed") === "true") return;
  const now = Date.now() - skew;
  for (const t of document.querySelectorAll("time[data-as=age]")) setText(t, age(Date.parse(t.dateTime), now));
}

for (const e of document.querySelectorAll("[data-scripted]")) e.hidden = false;
pause.addEventListener("click", () => {
  const paused = pause.getAttribute("aria-pressed") !== "true";
  pause.setAttribute("aria-pressed", String(paused));
  if (paused) {
    stop();
    tell("paused", "Paused");
  } else start();
});
document.addEventListener("visibilitychange", () => wanted() ? start() : stop());
document.getElementById("close")?.addEventListener("submit", closing);
setInterval(sinceTicks, 1000);
start();
