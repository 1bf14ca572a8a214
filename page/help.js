// Links to parts of the Help tab, from wherever they stand: the tab opens, and the part comes into view.
document.addEventListener("click", (event) => {
  const part = event.target.closest?.("[data-baa-help]")?.dataset.baaHelp;
  if (!part) return;
  document.querySelector("#baa-help-button")?.click();
  setTimeout(() => {
    const element = document.getElementById(part);
    element?.scrollIntoView({ block: "start" });
    element?.focus({ preventScroll: true });
  }, 150);
});
