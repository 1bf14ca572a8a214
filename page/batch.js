// A batch runs one radiograph a turn: when a turn's answer is there, its row is put into the table and the next turn is
// asked for. Where an answer did not come (the queue is full, the line broke), it is asked again after a while. Loaded
// once, in the page's head.
(() => {
  const AGAIN_MS = 3000;
  const one = (path) => document.querySelector(path);
  let last = "";

  // The row of the last turn, from where the answer puts it to its place in the table.
  function place() {
    const fed = one("#baa-batch-feed tr[data-baa-row]");
    if (!fed) return;
    const old = one(`#baa-batch-table tr[data-baa-row="${fed.dataset.baaRow}"]`);
    if (old && old.outerHTML !== fed.outerHTML) old.replaceWith(fed.cloneNode(true));
  }

  globalThis.baaBatch = {
    next(signal) {
      setTimeout(place, 0);
      const [state] = (signal ?? "").split(",");
      const same = signal === last;
      last = signal;
      if (state === "on") setTimeout(() => one("#baa-batch-turn")?.click(), same ? AGAIN_MS : 30);
    },
  };
  new MutationObserver(place).observe(document, { childList: true, subtree: true });
})();
