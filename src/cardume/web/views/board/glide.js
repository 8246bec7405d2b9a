/** Let what has moved glide to its place: first where it was, then where it is (FLIP). */

const DURATION = 350;

const still = matchMedia("(prefers-reduced-motion: reduce)");

/** @param {Iterable<HTMLElement>} nodes @param {() => void} change what moves them */
export function glide(nodes, change) {
  if (still.matches || document.hidden) return change();
  const before = new Map([...nodes].map((node) => [node, node.getBoundingClientRect()]));
  change();
  for (const [node, was] of before) {
    if (!node.isConnected || was.width === 0) continue;
    const is = node.getBoundingClientRect();
    const [x, y] = [was.left - is.left, was.top - is.top];
    if (Math.abs(x) < 1 && Math.abs(y) < 1) continue;
    // What comes from another column passes over what only makes room.
    const zIndex = Math.abs(x) < 1 ? 1 : 2;
    node.animate([{ transform: `translate(${x}px, ${y}px)`, zIndex }, { transform: "none", zIndex }], {
      duration: DURATION,
      easing: "cubic-bezier(0.2, 0, 0, 1)",
    });
  }
}
