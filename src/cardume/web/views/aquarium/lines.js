/**
 * The lines of tiles: what the server has kept, and what came since.
 *
 * @typedef {{t: number, v: number, low?: number, high?: number}} Point  milliseconds, a value, and
 *   what it swung between where it stands for many
 * @typedef {{source: "raw"|"hourly"|"mixed", width: number}} Past  readings one by one, hours, or
 *   both; milliseconds that a point of it stands for
 */

/** Points of a line: more would not be seen at the width of a tile. */
const RESOLUTION = 300;

/**
 * `points` with a newer one; two of them are never closer than the eye can tell.
 * @param {Point[]} points @param {number} t @param {number} v @param {number} span seconds
 */
export function extended(points, t, v, span) {
  const width = span * 1000;
  const kept = points.filter((point) => point.t >= t - width && point.t < t);
  const previous = kept.at(-2);
  if (previous && t - previous.t < width / RESOLUTION) kept.pop();
  return [...kept, { t, v }];
}

/**
 * What `GET …/readings` answered, as a line. A stretch of time stands in its middle, and one that
 * has only begun in the middle of what is over of it.
 * @param {any} answer @param {number} now @returns {{points: Point[], past: Past}}
 */
export function pastOf({ items, resolution, source }, now) {
  const width = resolution * 1000;
  const points = items.map((/** @type {any} */ item) => {
    const start = Date.parse(item.measured_at);
    if (item.mean === undefined) return { t: start, v: item.value };
    const end = Math.max(start, Math.min(start + width, now));
    return { t: (start + end) / 2, v: item.mean, low: item.min, high: item.max };
  });
  return { points, past: { source: source ?? "raw", width } };
}

/**
 * A line without what it must not be drawn over: a time for which there is no value.
 * @param {Point[]} points @param {number} width milliseconds that a point of the past stands for
 * @returns {Point[][]}
 */
export function runs(points, width) {
  const gaps = points.slice(1).map((point, i) => point.t - points[i].t).sort((a, b) => a - b);
  const longest = Math.max((gaps[gaps.length >> 1] ?? 0) * 4, width * 2.5);
  /** @type {Point[][]} */
  const all = [];
  points.forEach((point, i) => {
    if (i === 0 || point.t - points[i - 1].t > longest) all.push([]);
    all[all.length - 1].push(point);
  });
  return all;
}
