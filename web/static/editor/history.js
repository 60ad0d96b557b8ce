// The tree of steps: where undo and redo lead, what is shown in the filmstrip, what is before a step.

export function stepOf(steps, id) {
  return steps.find((step) => step.id === id) ?? null;
}

/** The steps that are pictures, in the order of making: masks are no pictures to go on with. */
export function pictures(steps) {
  return steps.filter((step) => !step.isMask);
}

export function original(steps) {
  return steps.find((step) => step.parentId === null) ?? null;
}

/** Where undo leads from a step, or null. */
export function before(steps, id) {
  const step = stepOf(steps, id);
  return step?.parentId ? stepOf(steps, step.parentId) : null;
}

/** Where redo leads: to the child that was visited last, else to the newest one. */
export function after(steps, id, visited = []) {
  const children = pictures(steps).filter((step) => step.parentId === id && step.lives);
  if (!children.length) return null;
  for (const seen of [...visited].reverse()) {
    const child = children.find((step) => step.id === seen);
    if (child) return child;
  }
  return children[children.length - 1];
}

/** From the original to the step. */
export function path(steps, id) {
  const found = [];
  for (let step = stepOf(steps, id); step; step = before(steps, step.id)) found.unshift(step);
  return found;
}

/** The newest selection that fits the picture of a step: made of it, or of one of the same size. */
export function maskFor(steps, step) {
  const fitting = steps.filter(
    (one) => one.isMask && one.lives && one.width === step.width && one.height === step.height,
  );
  return fitting[fitting.length - 1] ?? null;
}

/** The oldest picture on the way to a step that has its size: what a brush restores from. */
export function restorable(steps, step) {
  const fits = (one) =>
    one.id !== step.id && one.lives && one.width === step.width && one.height === step.height;
  return path(steps, step.id).find(fits) ?? null;
}
