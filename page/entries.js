// What is shown belongs to what is entered. Every result carries the picture, the sex and the age it was made for
// (`Entered.mark`); this compares them with what stands on the page now, and marks what does not belong, whatever
// order answers of a slow network come in. Loaded once, in the page's head.
(() => {
  const left = new Set(); // pictures that were given up: cleared, replaced, or about to be
  const boxes = ["baa-sex", "baa-years", "baa-months", "baa-earlier"]; // what is emptied for another picture
  const touched = new Set(); // of these, since the last picture was given up
  let due = false;
  const one = (path, from = document) => from.querySelector(path);
  const typed = (id) => (one(`#${id} input, #${id} textarea`)?.value ?? "").trim();
  const picture = () => one("#baa-ready [data-baa-ready]")?.dataset.baaReady ?? "";
  const entered = () => ({
    file: left.has(picture()) ? null : picture(),
    sex: one("#baa-sex input:checked")?.value ?? "",
    years: typed("baa-years"),
    months: typed("baa-months"),
  });

  function check() {
    due = false;
    const now = entered();
    for (const area of document.querySelectorAll(".baa-area")) {
      const of = one(".baa-belongs", area)?.dataset;
      const foreign = of !== undefined && of.baaFile !== now.file;
      // A radiograph that is not assessed yet belongs to its file alone.
      const outdated =
        of !== undefined && of.baaSex !== undefined && !foreign && (of.baaSex !== now.sex || of.baaYears !== now.years || of.baaMonths !== now.months);
      area.classList.toggle("baa-foreign", foreign);
      area.classList.toggle("baa-outdated", outdated);
      const line = one(".baa-outdated-line", area);
      const said = foreign ? line?.dataset.foreign : outdated ? line?.dataset.outdated : "";
      if (line && line.dataset.said !== said) line.textContent = line.dataset.said = said; // may be translated after that
    }
  }

  function soon() {
    if (due) return;
    due = true;
    queueMicrotask(check);
  }

  function giveUp() {
    if (picture()) left.add(picture());
    soon();
  }

  // Another picture is on its way: what is shown is of the last one, and so are sex and age.
  function leave() {
    giveUp();
    touched.clear();
    one("#baa-empty")?.click();
    soon();
  }

  function touch(event) {
    const box = boxes.find((id) => event.target.closest?.(`#${id}`));
    if (box !== undefined) touched.add(box);
    soon();
  }

  const uploading = () => one("#baa-file .progress-bar, #baa-file progress, #baa-file .uploading") !== null;

  globalThis.baa = {
    ...globalThis.baa,
    check: soon,
    // With every event: the picture on the page as the component holds it, and the time.
    say: (file) => `${file ?? ""},${Date.now()}`,
    // With a choice of a picture: were sex and age emptied when the one before it was given up?
    sayChosen: (file) => {
      const emptied = one("#baa-empty") !== null && (!picture() || left.has(picture()));
      return `${file ?? ""},${Date.now()}${emptied ? ",emptied" : ""}`;
    },
    // Sex, years, months and earlier assessments of another child: empty, but for what was entered since its picture
    // was chosen. As the page shows them: the components may not know yet.
    emptied: () => boxes.map((id) => {
      const empty = id === "baa-sex" ? null : "";
      return touched.has(id) ? one(`#${id} input:checked, #${id} input:not([type=radio]), #${id} textarea`)?.value ?? empty : empty;
    }),
  };

  document.addEventListener("change", (event) => {
    if (event.target.matches?.("#baa-file input[type=file]")) leave();
    touch(event);
  }, true);
  document.addEventListener("drop", (event) => {
    if (event.target.closest?.("#baa-file")) leave();
  }, true);
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("#baa-file .icon-button-wrapper button, .baa-example-row button")) leave();
    // The same child, another hand.
    if (event.target.closest?.("#baa-hands button")) giveUp();
    // An upload failed, and the picture before it is asked about again.
    if (event.target.closest?.("#baa-assess, #baa-explain, #baa-compare") && !uploading()) left.delete(picture());
    soon();
  }, true);
  document.addEventListener("input", touch, true);
  new MutationObserver(soon).observe(document, { childList: true, subtree: true, characterData: true });
})();
