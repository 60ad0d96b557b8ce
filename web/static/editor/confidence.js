// How far a cut-out or selection can be trusted, in words.

const UNCERTAIN = 0.6;

/**
 * @param {string} title what the server has found or made
 * @param {number} confidence 0..1
 */
export function withConfidence(title, confidence) {
  const percent = `${title}, ${Math.round(confidence * 100)} % sure.`;
  return confidence < UNCERTAIN ? `${percent} Please check it.` : percent;
}
