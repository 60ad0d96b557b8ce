// The before/after slider on the front page.
for (const figure of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-compare]"))) {
  const slider = figure.querySelector("input");
  if (!slider) continue;
  const update = () => figure.style.setProperty("--shown", `${slider.value}%`);
  slider.addEventListener("input", update);
  update();
}
