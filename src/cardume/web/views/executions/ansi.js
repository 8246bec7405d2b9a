/**
 * What a terminal would show of a line: its 16 colours and bold; every other escape sequence goes.
 *
 * @typedef {{text: string, look: string}} Piece  `look`: class names, empty for plain text
 */

// CSI … final byte; OSC … BEL or ST; other two-byte sequences (ECMA-48 §5).
const ESCAPE = /\x1b(?:\[([0-9;:?<=>]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])/g;

// What is left of control characters is nothing to be seen; a tab is.
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f]/g;

/** @param {string} text @returns {Piece[]} without empty ones */
export function pieces(text) {
  const shown = afterReturn(text);
  if (!shown.includes("\x1b")) return piece(shown, "");
  /** @type {Piece[]} */
  const found = [];
  const pen = { colour: "", bold: false };
  let from = 0;
  for (const match of shown.matchAll(ESCAPE)) {
    found.push(...piece(shown.slice(from, match.index), lookOf(pen)));
    from = match.index + match[0].length;
    if (match[2] === "m") select(pen, match[1]);
  }
  found.push(...piece(shown.slice(from), lookOf(pen)));
  return found;
}

/** A carriage return begins the line again: what counts is what was written last. @param {string} text */
function afterReturn(text) {
  const whole = text.replace(/\r+$/, "");
  return whole.slice(whole.lastIndexOf("\r") + 1);
}

/** @param {string} text @param {string} look @returns {Piece[]} */
function piece(text, look) {
  const clean = text.replace(CONTROL, "");
  return clean === "" ? [] : [{ text: clean, look }];
}

/** Select Graphic Rendition. @param {{colour: string, bold: boolean}} pen @param {string} parameters */
function select(pen, parameters) {
  const codes = parameters.split(/[;:]/).map(Number);
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i];
    if (code === 0) Object.assign(pen, { colour: "", bold: false });
    else if (code === 1) pen.bold = true;
    else if (code === 22) pen.bold = false;
    else if (code === 39) pen.colour = "";
    else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) pen.colour = `ansi-${code % 10}`;
    // Palettes we do not have: their numbers are no codes.
    else if (code === 38 || code === 48) i += codes[i + 1] === 5 ? 2 : 4;
  }
}

/** @param {{colour: string, bold: boolean}} pen */
function lookOf({ colour, bold }) {
  return [colour, bold ? "ansi-bold" : ""].filter(Boolean).join(" ");
}
