"use strict";
/* Keeps the page up to date, draws the charts, and sorts the table without loading the page again.

   The figures are sums since counting began: what is drawn is the difference between two answers.
   Where a sum is smaller than before, counting began anew, and the line has a gap there. */

const INTERVAL = 2000; // ms between an answer and the next question
const KEPT = 150; // points in a chart: five minutes
const PATIENCE = 15000; // ms after which an answer does not come any more
const SVG = "http://www.w3.org/2000/svg";
const STORE = "flask-caching-dashboard " + location.pathname;
const get = (id) => document.getElementById(id);

/* --- numbers for people, as units.py writes them ------------------------------------------------ */

const NONE = "–";
const count = (n) => n.toLocaleString("en-US");
const percent = (ratio) => {
  if (ratio === null) return NONE;
  if (ratio === 0 || ratio === 1) return `${ratio * 100}\u00a0%`;
  return `${Math.min(Math.max(Math.round(ratio * 1000) / 10, 0.1), 99.9).toFixed(1)}\u00a0%`;
};
const inUnits = (number, units) => {
  const [factor, unit] = units.find(([least]) => number >= least * 0.9995) || units.at(-1);
  number /= factor;
  const text = Math.round(number * 10) / 10 < 10 ? number.toFixed(1) : count(Math.round(number));
  return `${text.replace(/\.0$/, "")}\u00a0${unit}`;
};
const DURATIONS = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]];
const SIZES = [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"], [1, "B"]];
const RATES = [[1e3, "k\u00a0calls/s"], [1, "calls/s"]];
const duration = (seconds) => (seconds ? inUnits(seconds, DURATIONS) : NONE);
const size = (bytes) => (bytes ? inUnits(bytes, SIZES) : NONE);
const moment = (epoch) =>
  new Date(epoch * 1000).toISOString().slice(0, 19).replace("T", " ") + " UTC";
const FORMS = { count, percent, duration, size };

/* Says nothing where nothing changed, so that screen readers and selections are left alone. */
const say = (node, text) => {
  if (node && node.textContent !== text) node.textContent = text;
};

/* --- the table ---------------------------------------------------------------------------------- */

const body = document.querySelector("#table tbody");
const heads = [...document.querySelectorAll("#table thead th")];
const rows = new Map(); // what is shown of a use, by its kind and name
const idOf = (row) => `${row.kind} ${row.name}`;
let sort = heads.find((head) => head.ariaSort) || heads[1];

/* What the page came with, until the first answer. */
for (const line of body.rows) {
  const values = { name: line.dataset.name };
  for (const { dataset } of line.cells) {
    if (dataset.key) values[dataset.key] = dataset.value ? Number(dataset.value) : null;
  }
  rows.set(idOf(line.dataset), { line, values });
}

function newLine(row) {
  const line = get("row").content.firstElementChild.cloneNode(true);
  Object.assign(line.dataset, { kind: row.kind, name: row.name });
  line.querySelector(".kind").classList.add(row.kind);
  line.querySelector(".kind").textContent = row.kind;
  const link = line.querySelector(".use");
  link.textContent = row.name;
  link.setAttribute("href", "./?" + new URLSearchParams({ kind: row.kind, name: row.name }) + "#use");
  return line;
}

function showRows(found) {
  const seen = new Set();
  for (const row of found) {
    const id = idOf(row);
    seen.add(id);
    if (!rows.has(id)) {
      const line = newLine(row);
      body.append(line);
      rows.set(id, { line, values: {} });
      filterRow(line);
    }
    const shown = rows.get(id);
    shown.values = row;
    for (const cell of shown.line.cells) {
      const key = cell.dataset.key;
      if (!key) continue;
      const head = heads.find((one) => one.dataset.key === key);
      say(cell, FORMS[head.dataset.form](row[key]));
      cell.classList.toggle("zero", row[key] === 0);
    }
  }
  for (const [id, { line }] of rows) if (!seen.has(id)) { line.remove(); rows.delete(id); }
  get("empty").hidden = rows.size > 0;
  // Not under a pointer, nor under the keyboard: what is about to be pressed must not move.
  if (!body.matches(":hover") && !body.contains(document.activeElement)) sortRows();
}

function sortRows() {
  const key = sort.dataset.key, up = sort.ariaSort === "ascending" ? 1 : -1;
  const order = [...rows.values()].sort((a, b) => {
    const one = a.values[key] ?? null, other = b.values[key] ?? null;
    if (one === null || other === null) return (one === null) - (other === null);
    const same = a.values.name < b.values.name ? -1 : 1;
    return one === other ? same : one < other ? -up : up;
  });
  order.forEach(({ line }, n) => {
    if (body.rows[n] !== line) body.insertBefore(line, body.rows[n] || null);
  });
}

function sortBy(head) {
  const first = head.dataset.form === "name" ? "ascending" : "descending";
  const other = first === "ascending" ? "descending" : "ascending";
  const now = head.ariaSort === first ? other : first;
  for (const one of heads) one.removeAttribute("aria-sort");
  head.ariaSort = now;
  sort = head;
  sortRows();
}

const filter = get("filter").querySelector("input");
const filterRow = (line) => {
  line.hidden = !line.dataset.name.toLowerCase().includes(filter.value.trim().toLowerCase());
};

/* --- the rest of the page ----------------------------------------------------------------------- */

function showRest(found) {
  const { totals, backend } = found;
  const served = totals.hits + totals.stale;
  const tiles = {
    ratio: percent(totals.calls ? served / totals.calls : null),
    calls: count(totals.calls), computed: count(totals.computed), failed: count(totals.failed),
    unstored: count(totals.unstored), errors: count(backend.errors),
  };
  for (const [name, text] of Object.entries(tiles)) say(document.querySelector(`[data-tile=${name}]`), text);
  const text = (name, value) => say(document.querySelector(`[data-text=${name}]`), value);
  get("state").className = `state ${backend.state}`;
  text("state", `${backend.name} ${backend.text}`);
  text("state-only", backend.text);
  text("latency", duration(backend.seconds));
  text("breaker", backend.state === "open" ? "open" : "closed");
  text("pending", count(backend.pending));
  text("since", moment(found.since));
  showCauses(found.causes);
  const list = get("workers");
  const names = found.workers.map((worker) => [worker.name, `since ${moment(worker.started)}`]);
  if (JSON.stringify(names) !== list.dataset.shown) {
    list.dataset.shown = JSON.stringify(names);
    list.replaceChildren(...names.map(([name, since]) => {
      const item = document.createElement("li");
      const [one, other] = [document.createElement("span"), document.createElement("small")];
      one.textContent = name;
      other.textContent = since;
      item.append(one, other);
      return item;
    }));
    get("no-workers").hidden = names.length > 0;
  }
}

function showCauses(causes) {
  const list = get("causes");
  const known = new Map([...list.children].map((item) => [item.dataset.cause, item]));
  causes.forEach((cause, n) => {
    const item = known.get(cause.cause) || get("cause").content.firstElementChild.cloneNode(true);
    known.delete(cause.cause);
    item.dataset.cause = cause.cause;
    say(item.querySelector(".number"), count(cause.number));
    say(item.querySelector("strong"), cause.cause);
    say(item.querySelector(".sentence"), cause.text);
    say(item.querySelector(".where"), cause.uses.join(", "));
    if (list.children[n] !== item) list.insertBefore(item, list.children[n] || null);
  });
  for (const item of known.values()) item.remove();
  get("no-causes").hidden = causes.length > 0;
}

/* --- what happened between two answers ---------------------------------------------------------- */

let last = null; // the answer before
let points = []; // {time, ratio, rate, hit, compute}; {time, gap: true} where a line is broken

function percentile(now, before) {
  const old = new Map(before.buckets);
  const fresh = now.buckets.map(([bound, number]) => [bound, number - (old.get(bound) || 0)]);
  const all = fresh.reduce((sum, [, number]) => sum + number, 0);
  let seen = 0;
  for (const [bound, number] of fresh) {
    seen += number;
    if (all && seen >= all * 0.95) return bound;
  }
  return null;
}

function note(found) {
  const before = last;
  last = found;
  if (!before) return;
  const passed = found.now - before.now;
  const { totals } = found;
  const anew = found.since !== before.since || totals.calls < before.totals.calls ||
    totals.computed < before.totals.computed;
  if (anew || passed > 5 * INTERVAL / 1000) points.push({ time: found.now, gap: true });
  if (!anew && passed > 0) {
    const calls = totals.calls - before.totals.calls;
    const served = totals.hits + totals.stale - before.totals.hits - before.totals.stale;
    points.push({
      time: found.now,
      ratio: calls ? Math.min(Math.max(served / calls, 0), 1) : null,
      rate: calls / passed,
      hit: percentile(found.hit, before.hit),
      compute: percentile(found.compute, before.compute),
    });
  }
  points = points.slice(-KEPT);
}

/* A button loads the page again: the charts go on where they were. */
function keep() {
  try {
    sessionStorage.setItem(STORE, JSON.stringify({ last: last && { ...last, rows: [] }, points }));
  } catch { /* no room, or not allowed */ }
}

function takeUp() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(STORE));
    if (kept?.last && Date.now() / 1000 - kept.last.now < 600) ({ last, points } = kept);
  } catch { /* nothing is kept */ }
}

/* --- the charts --------------------------------------------------------------------------------- */

const EDGE = { left: 50, right: 10, top: 8, bottom: 22 };

function add(parent, kind, attributes, text) {
  const node = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

class Chart {
  constructor(name, lines, scale) {
    this.svg = get(`${name}-chart`);
    this.legend = get(`${name}-legend`);
    this.lines = lines;
    this.scale = scale;
    this.at = null; // the point that a pointer is at
    this.svg.addEventListener("pointermove", (event) => this.point(event.offsetX));
    this.svg.addEventListener("pointerleave", () => this.point(null));
  }

  point(x) {
    this.at = null;
    if (x !== null) {
      const near = (point) => Math.abs(this.x(point.time) - x);
      for (const point of points) if (!point.gap && (!this.at || near(point) < near(this.at))) this.at = point;
    }
    this.draw();
  }

  draw() {
    const box = this.svg.getBoundingClientRect();
    if (!box.width) return;
    const right = box.width - EDGE.right, bottom = box.height - EDGE.bottom;
    const end = last ? last.now : 0, span = KEPT * INTERVAL / 1000;
    const scale = this.scale(points, this.lines);
    this.x = (time) => EDGE.left + (1 - (end - time) / span) * (right - EDGE.left);
    const y = (value) => bottom - scale.at(value) * (bottom - EDGE.top);
    this.svg.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
    this.svg.replaceChildren();
    for (const [value, text] of scale.ticks) {
      add(this.svg, "line", { class: "grid", x1: EDGE.left, x2: right, y1: y(value), y2: y(value) });
      add(this.svg, "text", { x: EDGE.left - 8, y: y(value) + 4, "text-anchor": "end" }, text);
    }
    for (let ago = 0; ago < span; ago += 60) {
      const anchor = ago ? "middle" : "end";
      const text = ago ? `−${ago / 60} min` : "now";
      add(this.svg, "text", { x: this.x(end - ago), y: box.height - 4, "text-anchor": anchor }, text);
    }
    for (const line of this.lines) this.drawLine(line, y, bottom);
    if (this.at) {
      const x = this.x(this.at.time);
      add(this.svg, "line", { class: "cursor", x1: x, x2: x, y1: EDGE.top, y2: bottom });
    }
    this.tell();
  }

  drawLine({ key, name, area }, y, bottom) {
    const runs = [[]];
    for (const point of points) {
      if (point.gap) runs.push([]);
      // Where nothing was asked there is nothing to say; the line goes on with the next call.
      else if (point[key] !== null && this.x(point.time) >= EDGE.left) runs.at(-1).push([this.x(point.time), y(point[key])]);
    }
    for (const run of runs.filter((one) => one.length)) {
      const path = run.map(([px, py]) => `${px.toFixed(1)},${py.toFixed(1)}`).join(" L");
      if (area && run.length > 1) {
        add(this.svg, "path", { class: `area ${name}`, d: `M${run[0][0]},${bottom} L${path} L${run.at(-1)[0]},${bottom} Z` });
      }
      add(this.svg, "path", { class: `line ${name}`, d: `M${path}` });
      const [px, py] = run.at(-1);
      add(this.svg, "circle", { class: `point ${name}`, cx: px, cy: py, r: 3 });
    }
  }

  /* The legend has the figures of the point at the pointer, or the last ones. */
  tell() {
    const texts = this.lines.map(({ key, title, form, name }) => {
      const point = this.at || points.findLast((one) => !one.gap && one[key] !== null);
      return [name, `${title} ${form(point ? point[key] : null)}`.trim()];
    });
    const point = this.at || points.findLast((one) => !one.gap);
    if (this.rate && point) texts.push(["plain", inUnits(point.rate || 0, RATES)]);
    if (this.at) texts.push(["plain", new Date(this.at.time * 1000).toLocaleTimeString()]);
    if (JSON.stringify(texts) !== this.told) {
      this.told = JSON.stringify(texts);
      this.legend.replaceChildren(...texts.map(([name, text]) => {
        const node = document.createElement("span");
        node.className = name;
        node.textContent = text;
        return node;
      }));
    }
    this.svg.setAttribute("aria-label", texts.length ? texts.map(([, text]) => text).join(", ") : "no figures yet");
  }
}

const shares = () => ({
  at: (value) => value,
  ticks: [[0, "0\u00a0%"], [0.5, "50\u00a0%"], [1, "100\u00a0%"]],
});

/* Powers of ten: a hit takes microseconds where a computation takes a second. */
const magnitudes = (found, lines) => {
  const values = found.flatMap((point) => lines.map(({ key }) => point[key])).filter(Boolean);
  let low = values.length ? Math.floor(Math.log10(Math.min(...values))) : -5;
  let high = values.length ? Math.ceil(Math.log10(Math.max(...values))) : -1;
  if (high - low < 2) [low, high] = [high - 1 < low ? low - 1 : low, high + (high - low < 1 ? 1 : 0)];
  const step = Math.max(1, Math.ceil((high - low) / 5));
  const ticks = [];
  for (let power = low; power <= high; power += step) ticks.push([10 ** power, duration(10 ** power)]);
  return { at: (value) => (Math.log10(value) - low) / (high - low), ticks };
};

const charts = [
  new Chart("ratio", [{ key: "ratio", title: "", form: percent, name: "first", area: true }], shares),
  new Chart("latency", [
    { key: "hit", title: "hits", form: duration, name: "first" },
    { key: "compute", title: "computed", form: duration, name: "second" },
  ], magnitudes),
];
charts[0].rate = true;

/* --- asking ------------------------------------------------------------------------------------- */

let timer = 0, asking = false, since = null;

async function ask() {
  if (asking || document.hidden) return;
  asking = true;
  clearTimeout(timer);
  try {
    const answer = await fetch("figures", {
      cache: "no-store", redirect: "manual", signal: AbortSignal.timeout(PATIENCE),
    });
    const refused = answer.type === "opaqueredirect" || [401, 403].includes(answer.status);
    if (refused) throw new Error("You are not signed in any more. Load the page again.");
    if (!answer.ok) throw new Error(`The app answers with status ${answer.status}.`);
    const found = await answer.json();
    note(found);
    showRows(found.rows);
    showRest(found);
    charts.forEach((chart) => chart.draw());
    lost(null);
  } catch (error) {
    const unknown = error instanceof TypeError || error.name === "TimeoutError";
    lost(unknown ? "The app does not answer." : error.message);
  } finally {
    asking = false;
    timer = setTimeout(ask, INTERVAL);
  }
}

function lost(why) {
  const live = get("live"), box = get("lost");
  live.hidden = false;
  live.className = why ? "live off" : "live on";
  say(get("live-text"), why ? "not live" : "live");
  if (why) since ??= new Date().toLocaleTimeString();
  else since = null;
  box.hidden = !why;
  say(box, why ? `${why} The figures are those of ${since}; asking again every ${INTERVAL / 1000} seconds.` : "");
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (!document.hidden) ask();
});
addEventListener("pagehide", keep);
addEventListener("resize", () => charts.forEach((chart) => chart.draw()));
for (const head of heads) {
  head.querySelector("button").addEventListener("click", (event) => {
    event.preventDefault();
    sortBy(head);
  });
}
filter.addEventListener("input", () => { for (const { line } of rows.values()) filterRow(line); });
document.querySelector("form#sorting").addEventListener("submit", (event) => event.preventDefault());
get("filter").hidden = false;
get("charts").hidden = false;
get("told")?.focus({ preventScroll: true });
takeUp();
charts.forEach((chart) => chart.draw());
ask();
