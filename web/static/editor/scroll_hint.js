// Shows at which ends of a row more can be scrolled to: those ends fade out.

/** Fractions of pixels and the padding at the ends do not count. */
const TOLERANCE_PIXELS = 8;

/**
 * Which ends hide something: "start", "end", "start end" or "".
 * @param {{ scrollLeft: number, clientWidth: number, scrollWidth: number }} row
 */
export function hiddenEnds({ scrollLeft, clientWidth, scrollWidth }) {
  const ends = [];
  if (scrollLeft > TOLERANCE_PIXELS) ends.push("start");
  if (scrollWidth - clientWidth - scrollLeft > TOLERANCE_PIXELS) ends.push("end");
  return ends.join(" ");
}

/** @param {HTMLElement} row */
export function hintScrolling(row) {
  const refresh = () => (row.dataset.more = hiddenEnds(row));
  row.addEventListener("scroll", refresh, { passive: true });
  new ResizeObserver(refresh).observe(row);
}
