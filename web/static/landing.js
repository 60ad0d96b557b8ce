// The slider over the two pictures of the front page.
for (const figure of document.querySelectorAll("[data-compare]")) {
  const slider = figure.querySelector("input");
  const show = () => figure.style.setProperty("--shown", `${slider.value}%`);
  slider.addEventListener("input", show);
  show();
}
