/**
 * What the page knows of the board: a pure function from what the server sent to what is shown.
 *
 * A snapshot may already hold later events, so a card or a board that is older than what is known
 * changes nothing. A card whose place was written anew has the version it had.
 *
 * @typedef {{id: string, board_id: string, column_id: string, title: string, description?: string,
 *   labels: string[], position: string, version: number, created_at: string, updated_at: string,
 *   updated_by: string}} Card
 * @typedef {{board_id: string, columns: string[], version: number}} Board
 * @typedef {{board: Board|null, cards: Record<string, Card>, gone: string[],
 *   partial: boolean}} State  `partial`: the snapshot did not hold everything
 */

/** Ids of deleted cards that are remembered: as long as an older word of them may be on its way. */
const GONE = 500;

/** @returns {State} */
export function initial() {
  return { board: null, cards: {}, gone: [], partial: false };
}

/** @param {State} state @param {{type: string, data: any}} event @returns {State} */
export function reduce(state, { type, data }) {
  return Object.hasOwn(STEPS, type) ? STEPS[type](state, data) : state;
}

/** @type {Record<string, (state: State, data: any) => State>} */
const STEPS = {
  snapshot,
  card_created: withCard,
  card_updated: withCard,
  card_moved: withCard,
  card_deleted: withoutCard,
  board_updated: withBoard,
};

/** @param {State} state @param {any} data @returns {State} */
function snapshot(state, { board, cards, truncated }) {
  const all = Object.fromEntries(cards.map((/** @type {Card} */ card) => [card.id, card]));
  return { ...state, board, cards: all, gone: [], partial: Boolean(truncated) };
}

/** @param {State} state @param {Card} card @returns {State} */
function withCard(state, card) {
  const known = state.cards[card.id];
  if (state.gone.includes(card.id) || (known && known.version > card.version)) return state;
  return { ...state, cards: { ...state.cards, [card.id]: { ...known, ...card } } };
}

/** @param {State} state @param {{id: string}} card @returns {State} */
function withoutCard(state, { id }) {
  const { [id]: _gone, ...cards } = state.cards;
  return { ...state, cards, gone: [...state.gone, id].slice(-GONE) };
}

/** @param {State} state @param {Board} board @returns {State} */
function withBoard(state, board) {
  return state.board && state.board.version > board.version ? state : { ...state, board };
}

/** @param {State} state @param {string} column @returns {Card[]} in order */
export function cardsIn(state, column) {
  return Object.values(state.cards)
    .filter((card) => card.column_id === column)
    .sort((a, b) => compare(a.position, b.position) || compare(a.id, b.id));
}

/**
 * Where a card goes that is put before another.
 * @param {State} state @param {string} id of the card @param {string} column
 * @param {string|null} before the card it is put before; null: at the end
 * @returns {{column_id: string, after_id: string|null}|null} null: it is there already
 */
export function placeBefore(state, id, column, before) {
  const order = cardsIn(state, column);
  const others = order.filter((card) => card.id !== id);
  const found = others.findIndex((card) => card.id === before);
  const index = found < 0 ? others.length : found;
  if (order.findIndex((card) => card.id === id) === index && order.length > others.length) return null;
  return { column_id: column, after_id: others[index - 1]?.id ?? null };
}

/**
 * Where a card goes that is moved one place up or down.
 * @param {State} state @param {string} id @param {-1|1} step
 * @returns {{column_id: string, after_id: string|null}|null} null: there is no such place
 */
export function placeBeside(state, id, step) {
  const card = state.cards[id];
  const order = cardsIn(state, card.column_id);
  const to = order.findIndex((other) => other.id === id) + step;
  if (to < 0 || to >= order.length) return null;
  const after = step < 0 ? order[to - 1] : order[to];
  return { column_id: card.column_id, after_id: after?.id ?? null };
}

/** What of a card others have changed since it was opened. */
const WRITTEN = { title: "title", description: "description", labels: "labels", column_id: "column" };

/** @param {Card} was @param {Card} is @returns {string[]} the names of its changed members */
export function changes(was, is) {
  return Object.entries(WRITTEN)
    .filter(([member]) => JSON.stringify(was[/** @type {keyof Card} */ (member)]) !== JSON.stringify(is[/** @type {keyof Card} */ (member)]))
    .map(([, name]) => name);
}

/** @param {string} text separated by commas @returns {string[]} each once */
export function labelsOf(text) {
  return [...new Set(text.split(",").map((label) => label.trim()).filter(Boolean))];
}

/** @param {string} slug @returns {string} as a heading */
export function columnName(slug) {
  const words = slug.replace(/[_-]+/g, " ");
  return words[0].toUpperCase() + words.slice(1);
}

/** @param {string} a @param {string} b */
function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}
