/** One tile per measured thing: its value, how it does, how old it is, where it came from. */

import { byId, element, say, show } from "../../dom.js";
import { ago, moment } from "../../words.js";
import { runs } from "./lines.js";
import { condition } from "./state.js";
import { CONDITIONS, metricName, SOURCES, targetText, unitName } from "./words.js";

/** @typedef {import("./state.js").State} State @typedef {import("./state.js").Tile} Tile
 * @typedef {import("./lines.js").Point} Point */

/** What people look at first; the rest follows by name. */
const FIRST = ["temperature", "ph", "salinity", "alkalinity", "kh", "gh", "ammonia", "nitrite", "nitrate"];

const BY_THE_HOUR = "Readings that old are kept by the hour: the line is their mean, the band reaches from the lowest to the highest.";

const WIDTH = 240;
const HEIGHT = 56;
const MARGIN = 5;

/** @param {State} state @param {number} now */
export function showTiles(state, now) {
  const tiles = Object.values(state.tiles).sort(inOrder);
  show(byId("tiles"), tiles, (tile) => tile.key, create, (node, tile) => update(node, tile, state, now));
}

/** @param {Tile} a @param {Tile} b */
export function inOrder(a, b) {
  return rank(a) - rank(b) || a.metric.localeCompare(b.metric) || (a.sensorId ?? 0) - (b.sensorId ?? 0);
}

/** @param {Tile} tile @returns {number} what was never measured comes last */
function rank(tile) {
  const place = FIRST.indexOf(tile.metric);
  return (tile.at === null ? 100 : 0) + (place < 0 ? FIRST.length : place);
}

/** @param {Tile} tile */
function create(tile) {
  const draw = (/** @type {string} */ tag, /** @type {string} */ name) => element(tag, { class: name });
  const line = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  line.append(draw("rect", "band"), draw("path", "range"), draw("path", "trace"), draw("path", "tip"));
  return element(
    "li",
    { class: "card tile" },
    element("h3", {}, metricName(tile.metric)),
    element("p", { class: "mark" }, element("span", { "aria-hidden": "true" }), element("span")),
    element("p", { class: "value" }, element("span", { class: "number" }), element("span", { class: "unit" })),
    line,
    element("p", { class: "target" }, element("span"), element("span", { class: "past", title: BY_THE_HOUR })),
    element("p", { class: "age" }, element("time"), element("span", { class: "source" })),
  );
}

/** @param {HTMLElement} node @param {Tile} tile @param {State} state @param {number} now */
function update(node, tile, state, now) {
  const find = (/** @type {string} */ selector) => /** @type {any} */ (node.querySelector(selector));
  const how = condition(state, tile, now);
  const [sign, word] = CONDITIONS[how];
  node.dataset.look = how;
  say(find(".mark").firstChild, sign);
  say(find(".mark").lastChild, word);
  const unit = unitName(tile.unit, tile.metric);
  say(find(".number"), tile.value === null ? "—" : tile.value.toFixed(tile.decimals));
  say(find(".unit"), unit);
  say(find(".target").firstChild, targetText(tile.target, unit));
  say(find(".past"), SOURCES[tile.past?.source ?? ""] ?? "");
  say(find(".age time"), tile.at === null ? "" : ago(tile.at, now));
  find(".age time").title = moment(tile.at);
  say(find(".source"), sourceOf(tile, state));
  trace(find("svg"), tile, state.span * 1000, now);
}

/** @param {Tile} tile @param {State} state */
function sourceOf(tile, state) {
  if (tile.origin === "manual") return "by hand";
  if (tile.deviceId === null) return "";
  const name = state.devices[tile.deviceId]?.name ?? tile.deviceId;
  return tile.sensor ? `${name}, ${tile.sensor}` : name;
}

/** @param {SVGSVGElement} svg @param {Tile} tile @param {number} span @param {number} now milliseconds */
function trace(svg, tile, span, now) {
  const points = tile.points.filter((point) => point.t >= now - span);
  const [band, range, path, tip] = /** @type {any[]} */ ([...svg.children]);
  const values = points.flatMap((point) => [point.low ?? point.v, point.v, point.high ?? point.v]);
  const { bottom, height } = scale(values, tile.target);
  const y = (/** @type {number} */ v) => HEIGHT - MARGIN - ((v - bottom) / height) * (HEIGHT - 2 * MARGIN);
  const start = Math.max(now - span, points[0]?.t ?? now);
  const x = (/** @type {number} */ t) => ((t - start) / Math.max(now - start, 1000)) * (WIDTH - 2 * MARGIN) + MARGIN;
  place(band, tile.target, y);
  const spot = (/** @type {number} */ t, /** @type {number} */ v) => `${x(t).toFixed(1)} ${y(v).toFixed(1)}`;
  const width = tile.past?.width ?? 0;
  range.setAttribute("d", runs(points.filter((point) => point.low !== undefined), width).map((run) => around(run, spot)).join(""));
  path.setAttribute("d", runs(points, width).map((run) => along(run, spot)).join(""));
  const last = points.at(-1);
  tip.setAttribute("d", last ? `M${spot(last.t, last.v)}h0.01` : "");
  const [low, high] = [Math.min(...values), Math.max(...values)].map((v) => v.toFixed(tile.decimals));
  svg.setAttribute("aria-label", points.length > 1 ? `between ${low} and ${high}` : "no line yet");
}

/** @param {Point[]} run @param {(t: number, v: number) => string} spot @returns {string} a line; of a lone point, a dot */
function along(run, spot) {
  const line = `M${run.map(({ t, v }) => spot(t, v)).join("L")}`;
  return run.length > 1 ? line : `${line}h0.01`;
}

/** @param {Point[]} run @param {(t: number, v: number) => string} spot @returns {string} the area it swung in */
function around(run, spot) {
  const highs = run.map(({ t, v, high = v }) => spot(t, high));
  const lows = run.map(({ t, v, low = v }) => spot(t, low)).reverse();
  return `M${[...highs, ...lows].join("L")}Z`;
}

/**
 * What fits on the line: all values, and of the target what is near to them.
 * @param {number[]} values @param {Tile["target"]} target
 */
function scale(values, target) {
  const edges = [target?.low, target?.high].filter((edge) => edge !== null && edge !== undefined);
  const all = values.length > 0 ? values : edges;
  let [low, high] = all.length > 0 ? [Math.min(...all), Math.max(...all)] : [0, 1];
  const room = Math.max(high - low, Math.abs(high) * 0.01, 0.01);
  for (const edge of edges) {
    if (edge > low - room && edge < high + room) [low, high] = [Math.min(low, edge), Math.max(high, edge)];
  }
  const slack = high > low ? 0 : room;
  return { bottom: low - slack, height: high - low + 2 * slack };
}

/** @param {SVGRectElement} band @param {Tile["target"]} target @param {(v: number) => number} y */
function place(band, target, y) {
  const clamp = (/** @type {number} */ v) => Math.min(HEIGHT, Math.max(0, v));
  const none = !target || (target.low === null && target.high === null);
  const top = none || target.high === null ? 0 : clamp(y(target.high));
  const floor = none || target.low === null ? HEIGHT : clamp(y(target.low));
  const rectangle = { x: 0, y: top, width: WIDTH, height: none ? 0 : floor - top };
  for (const [name, value] of Object.entries(rectangle)) band.setAttribute(name, String(value));
}
