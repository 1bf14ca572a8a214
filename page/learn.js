// The Learn tab: everything that moves is drawn here, from small pictures that came once. Loaded in the page's head.
// Questions go to the server through two hidden buttons (`learn_tab.py`); what a student answers stays in the browser.
(() => {
  const one = (path, from = document) => from.querySelector(path);
  const all = (path, from = document) => [...from.querySelectorAll(path)];
  const escaped = (text) => String(text).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
  const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
  const TAG = '<span class="baa-tag">drawn, no child</span>';

  // ---- Asking the server -------------------------------------------------------------------------------------------
  const lines = {
    page: { button: "#baa-learn-ask", queue: Promise.resolve(), question: "", waiting: new Map() },
    networks: { button: "#baa-learn-ask-networks", queue: Promise.resolve(), question: "", waiting: new Map() },
  };
  let count = 0;

  // One question at a time on each line; an answer carries its question's number.
  function ask(question, line = "page") {
    const by = lines[line];
    const answered = by.queue.then(async () => {
      while (!one(by.button)) await wait(50);
      const number = ++count;
      const told = new Promise((resolve) => by.waiting.set(number, resolve));
      by.question = JSON.stringify({ ...question, number });
      one(by.button).click();
      const answer = await told;
      if (answer.error) throw new Error(answer.error);
      return answer;
    });
    by.queue = answered.catch(() => {});
    return answered;
  }

  function hears(line, text) {
    const answer = JSON.parse(text || "{}");
    const { waiting } = lines[line];
    waiting.get(answer.number)?.(answer);
    waiting.delete(answer.number);
  }

  globalThis.baaLearn = { asks: (line) => lines[line].question, hears };

  // ---- Words -------------------------------------------------------------------------------------------------------
  const years = (months) => {
    const whole = Math.abs(Math.round(months));
    const parts = [[Math.floor(whole / 12), "year"], [whole % 12, "month"]].filter(([n]) => n);
    return parts.map(([n, unit]) => `${n} ${unit}${n === 1 ? "" : "s"}`).join(" ") || "0 months";
  };
  const aged = (months) => (months ? years(months) : "newborn");
  const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)}`;
  const SEX = { female: "Girl", male: "Boy" };
  const failed = (error) => `<p class="bl-failed" role="alert">${escaped(error.message)}</p>`;

  // ---- The growing hand --------------------------------------------------------------------------------------------
  const kept = { facts: null, series: {} };

  async function unpacked(base64) {
    const bytes = Uint8Array.from(atob(base64), (sign) => sign.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  }

  async function seriesOf(sex) {
    if (!kept.series[sex]) {
      kept.series[sex] = ask({ about: "series", sex }).then(async ({ series }) => {
        const found = await unpacked(series);
        for (const stop of found.stops) {
          const bytes = Uint8Array.from(atob(stop.picture), (sign) => sign.charCodeAt(0));
          stop.address = URL.createObjectURL(new Blob([bytes], { type: "image/webp" }));
          delete stop.picture;
        }
        return found;
      });
      kept.series[sex].catch(() => delete kept.series[sex]);
    }
    return kept.series[sex];
  }

  // The SD of bone age at an age, interpolated between two rows; null outside the table.
  function deviation(sex, months) {
    const rows = kept.facts.reference[sex];
    if (months < rows[0][0] || months > rows.at(-1)[0]) return null;
    const after = rows.findIndex(([age]) => age >= months);
    if (rows[after][0] === months) return rows[after][1];
    const [[from, low], [to, high]] = [rows[after - 1], rows[after]];
    return low + ((months - from) / (to - from)) * (high - low);
  }

  function growingHand(root) {
    const step = Number(root.dataset.step);
    const last = Number(root.dataset.last);
    const box = (id) => one(`#${id}`, root);
    const [age, age2, sd] = [box("bl-age"), box("bl-age2"), box("bl-sd")];
    const chosen = (name) => one(`input[name="${name}"]:checked`, root).value;
    const status = one(".bl-bone", root);
    let before = null; // the ages of the last stop: what has changed since then is listed
    let shown = [];
    let pages = 0;
    let mine = null; // the assessed radiograph, laid onto the drawn hand of its estimated bone age

    const toStop = (months) => Math.max(0, Math.min(last, Math.round(months / step) * step));
    const boneAge = (sex, months, score) => toStop(months + score * (deviation(sex, months) ?? 0));

    // The hands of the chosen view: sex, age, SD score and what to call it.
    function wanted() {
      const [sex, mode, score, months] = [chosen("bl-sex"), chosen("bl-mode"), Number(sd.value), Number(age.value)];
      const hand = (whose, at, by) => ({ sex: whose, age: at, score: by, bone: boneAge(whose, at, by) });
      if (mode === "sexes") return ["female", "male"].map((whose) => hand(whose, months, score));
      if (mode === "ages") return [months, Number(age2.value)].map((at) => hand(sex, at, score));
      if (mode === "mine") return [hand(sex, months, 0)];
      if (mode === "spread") return [-2, -1, 0, 1, 2].map((by) => hand(sex, months, by));
      return [hand(sex, months, score)];
    }

    const happened = (sex, from, to) =>
      kept.facts.happenings[sex].filter(({ months }) => months > Math.min(from, to) && months <= Math.max(from, to));

    function caption({ sex, age: at, score, bone }) {
      const by = deviation(sex, at);
      const off = score && by !== null ? `, ${signed(score).replace(".0", "")} SD` : "";
      return `${SEX[sex]}, ${aged(at)}${off}${off ? `: bone age ${aged(bone)}` : ""}`;
    }

    function figure(hand, series, marked) {
      const stop = series.stops[hand.bone / step];
      const parts = Object.entries(stop.bones).map(([name, points], place) => {
        const title = kept.facts.titles[name];
        const fresh = marked.has(name) ? " bl-new" : "";
        const tab = place ? -1 : 0;
        return `<polygon class="bl-part${fresh}" points="${points}" data-name="${name}" tabindex="${tab}" role="img" aria-label="${escaped(title)}"/>`;
      });
      return `<figure class="bl-figure"><div class="bl-frame">${TAG}<img src="${stop.address}" decoding="sync"
        width="${series.width}" height="${series.height}" alt="Drawn hand, no child: ${caption(hand)}"><svg
        viewBox="0 0 ${series.width} ${series.height}" role="group"
        aria-label="Bones: arrow keys go from one to the next">${parts.join("")}</svg></div>
        <figcaption>${caption(hand)}</figcaption></figure>`;
    }

    function assessed({ picture, drawn, months, mirrored }, { width, height }) {
      const said = `Assessed radiograph: estimated bone age ${aged(months)}`;
      const how = mirrored ? "<br><small>Mirrored, to lie as the drawn hand does.</small>" : "";
      return `<figure class="bl-figure" id="bl-mine"><div class="bl-frame">${drawn ? TAG : ""}<img src="${picture}" decoding="sync"
        width="${width}" height="${height}" alt="${said}"></div><figcaption>${said}${how}</figcaption></figure>`;
    }

    // Parts of a hand that a change concerns: the epiphysis while it is apart from its bone.
    function concerned(changes, bones) {
      const found = new Set();
      for (const { centres } of changes) {
        for (const centre of centres) {
          if (bones[`${centre} epiphysis`]) found.add(`${centre} epiphysis`);
          else if (bones[centre]) found.add(centre);
        }
      }
      return found;
    }

    function listed(changes, backwards) {
      const items = changes.map(({ months, words, source, uncertain }) => {
        const doubt = uncertain ? ` <i>Uncertain: ${escaped(uncertain)}</i>` : "";
        return `<li><b>${years(months)}</b>: ${backwards ? "not yet: " : ""}${escaped(words)} <small>(${escaped(source)})</small>${doubt}</li>`;
      });
      return `<ul tabindex="0" aria-label="Changes">${items.join("")}</ul>`; // may scroll, so it can be reached by keyboard
    }

    function tellChanges(hands, mode) {
      const title = one("#bl-changes-title", root);
      const place = one("#bl-changes", root);
      if (mode === "sexes" || mode === "ages") {
        const [a, b] = hands;
        title.textContent = mode === "ages" ? "What differs between the two ages" : "What differs between girl and boy";
        if (mode === "ages") {
          const found = happened(a.sex, a.bone, b.bone);
          place.innerHTML = found.length ? listed(found, false) : "<p>No centre appears or fuses between them.</p>";
          return;
        }
        const has = (hand) => new Set(happened(hand.sex, -1, hand.bone).map(({ words }) => words));
        const [girl, boy] = [has(a), has(b)];
        const only = happened(a.sex, -1, a.bone).filter(({ words }) => !boy.has(words));
        const onlyBoy = happened(b.sex, -1, b.bone).filter(({ words }) => !girl.has(words));
        place.innerHTML =
          (only.length ? `<p>In the girl already, in the boy not yet:</p>${listed(only, false)}` : "") +
          (onlyBoy.length ? `<p>In the boy already, in the girl not yet:</p>${listed(onlyBoy, false)}` : "") ||
          "<p>The same centres are there and fused in both.</p>";
        return;
      }
      const hand = mode === "spread" ? hands[2] : hands[0];
      const from = before && before.sex === hand.sex ? before.bone : hand.bone;
      const changes = happened(hand.sex, from, hand.bone);
      const backwards = hand.bone < from;
      const next = kept.facts.happenings[hand.sex].find(({ months }) => months > hand.bone);
      title.textContent = from === hand.bone ? "What changes here" : `What changed between ${aged(Math.min(from, hand.bone))} and ${aged(Math.max(from, hand.bone))}`;
      const what = changes.length ? listed(changes, backwards) : "<p>No centre appears or fuses in this step.</p>";
      place.innerHTML = what + (next ? `<p class="bl-fine">Next, at ${years(next.months)}: ${escaped(next.words)}.</p>` : "");
    }

    function tellStage(hands, mode) {
      const told = (mode === "spread" ? [hands[2]] : hands).map((hand) => {
        const stages = kept.facts.stages[hand.sex];
        const stage = stages.filter(({ from }) => hand.bone >= from).at(-1);
        const doubt = stage.uncertain ? ` <i>Uncertain: ${escaped(stage.uncertain)}</i>` : "";
        const past = hand.bone >= stage.to ? " (completed)" : "";
        return `<p><b>${caption(hand)}: ${escaped(stage.name)}${past}.</b> Look at: ${escaped(stage.look_at)}
          ${escaped(stage.why)} <small>(${escaped(stage.source)})</small>${doubt}</p>`;
      });
      one("#bl-stage", root).innerHTML = told.join("");
    }

    // The bone ages shown as lines over the timeline. Gradio's copy of Plotly is out of reach, so the lines lie above it.
    function drawLines() {
      const plot = one("#baa-learn-timeline .js-plotly-plot");
      const size = plot?._fullLayout?._size;
      const axis = plot?._fullLayout?.xaxis;
      if (!size || !axis) return;
      const drawn = [size.l, size.t, size.w, size.h, ...shown.map(({ sex, bone }) => sex + bone)].join();
      if (plot.dataset.lines === drawn && (one(".bl-line", plot) || !shown.length)) return;
      plot.dataset.lines = drawn;
      plot.style.position = "relative";
      for (const line of all(".bl-line", plot)) line.remove();
      const [low, high] = axis.range;
      for (const hand of shown) {
        const line = document.createElement("div");
        line.className = `bl-line bl-line-${hand.sex}`;
        line.style.left = `${size.l + ((hand.bone / 12 - low) / (high - low)) * size.w}px`;
        line.style.top = `${size.t}px`;
        line.style.height = `${size.h}px`;
        line.dataset.months = hand.bone;
        plot.append(line);
      }
    }

    function say() {
      const mode = chosen("bl-mode");
      box("bl-age-said").textContent = aged(Number(age.value));
      box("bl-age2-said").textContent = aged(Number(age2.value));
      age.setAttribute("aria-valuetext", aged(Number(age.value)));
      age2.setAttribute("aria-valuetext", aged(Number(age2.value)));
      box("bl-other").hidden = mode !== "ages";
      const score = Number(sd.value);
      box("bl-sd-said").textContent = score ? `${signed(score)} SD (${score > 0 ? "early" : "late"})` : "0 SD (mean)";
      sd.setAttribute("aria-valuetext", box("bl-sd-said").textContent);
      if (!kept.facts) return;
      const whose = mode === "sexes" ? ["female", "male"] : [chosen("bl-sex")];
      const known = whose.every((sex) => deviation(sex, Number(age.value)) !== null);
      sd.disabled = !known || mode === "spread" || mode === "mine";
      box("bl-sd-note").textContent = known
        ? ""
        : "At this age the reference table has no SD (girls 3 months to 16 years, boys to 17 years), so no spread is shown.";
    }

    async function redraw(began = performance.now()) {
      say();
      const page = ++pages;
      const mode = chosen("bl-mode");
      const hands = kept.facts ? wanted() : [];
      try {
        kept.facts ??= (await ask({ about: "facts" })).facts;
        if (mode === "mine" && !mine) {
          mine = await ask({ about: "mine" });
          if (page !== pages) return;
          age.value = mine.stop;
          one(`input[name="bl-sex"][value="${mine.sex}"]`, root).checked = true;
          hands.length = 0;
        }
        const again = hands.length ? hands : wanted();
        const series = await Promise.all(again.map(({ sex }) => seriesOf(sex)));
        if (page !== pages) return;
        say();
        shown = again;
        const from = before && before.sex === again[0].sex ? before.bone : null;
        const html = again.map((hand, number) => {
          const stop = series[number].stops[hand.bone / step];
          const changes = mode === "one" && from !== null ? happened(hand.sex, from, hand.bone)
            : mode === "ages" ? happened(hand.sex, again[0].bone, again[1].bone) : [];
          return figure(hand, series[number], concerned(changes, stop.bones));
        });
        if (mode === "mine") html.unshift(assessed(mine, series[0]));
        const place = one(".bl-hands", root);
        place.dataset.mode = mode;
        place.innerHTML = html.join("");
        tellChanges(again, mode);
        tellStage(again, mode);
        drawLines();
        await Promise.all(all("img", place).map((image) => image.decode()));
        place.dataset.redrawn = (performance.now() - began).toFixed(1);
      } catch (error) {
        if (error.name === "EncodingError") return; // a newer step has taken this picture's place
        one(".bl-hands", root).innerHTML = failed(error);
      }
    }

    // A stop ends where the slider is let go, and a key makes one.
    function stopHere() {
      const hand = shown[shown.length === 5 ? 2 : 0]; // of five children of one age the middle one
      before = hand ? { sex: hand.sex, bone: hand.bone } : null;
    }

    let dragging = false;
    root.addEventListener("pointerdown", (event) => {
      if (!event.target.matches("input[type=range]")) return;
      dragging = true;
      stopHere();
    }, true);
    root.addEventListener("pointerup", () => { dragging = false; }, true);
    root.addEventListener("keydown", (event) => {
      if (event.target.matches("#bl-age, #bl-age2") && /^Page(Up|Down)$/.test(event.key)) {
        event.preventDefault();
        stopHere();
        event.target.value = Number(event.target.value) + (event.key === "PageUp" ? 12 : -12);
        redraw();
      } else if (event.target.matches("input[type=range]")) stopHere();
    }, true);
    root.addEventListener("input", (event) => {
      if (event.target.matches("input[type=range], input[type=radio]")) {
        if (!dragging && event.target.type === "radio") stopHere();
        if (event.target.name === "bl-mode") mine = null; // another radiograph may have been assessed meanwhile
        redraw();
      }
    });

    let pointed = null;
    // Bones: by the pointer and, from a focused bone on, by the arrow keys.
    function name(part) {
      const { name: bone } = part.dataset;
      const centre = bone.replace(" epiphysis", "");
      status.innerHTML = `<b>${escaped(kept.facts.titles[bone])}.</b> ${escaped(kept.facts.about[centre] ?? "")}`;
      status.dataset.bone = bone;
    }
    root.addEventListener("pointermove", (event) => {
      const moved = event.movementX || event.movementY; // not the page below a pointer that rests
      if (moved && event.target.matches(".bl-part") && event.target !== pointed) name(event.target);
      if (moved) pointed = event.target;
    });
    root.addEventListener("focusin", (event) => {
      if (event.target.matches(".bl-part")) name(event.target);
    });
    root.addEventListener("keydown", (event) => {
      if (!event.target.matches(".bl-part")) return;
      const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!by) return;
      event.preventDefault();
      const parts = all(".bl-part", event.target.closest("svg"));
      const to = parts[(parts.indexOf(event.target) + by + parts.length) % parts.length];
      event.target.tabIndex = -1;
      to.tabIndex = 0;
      to.focus();
    });

    new ResizeObserver(drawLines).observe(root);
    const timer = setInterval(() => {
      drawLines(); // the plot may be drawn some seconds later
      if (!root.isConnected) clearInterval(timer);
    }, 500);
    redraw();
  }

  // ---- The reading lesson ------------------------------------------------------------------------------------------
  const link = new URLSearchParams(location.search);
  const linked = link.get("lesson") !== null && /^\d{1,6}$/.test(link.get("lesson")) ? Number(link.get("lesson")) : null;

  function lesson(root) {
    const box = (id) => one(`#${id}`, root);
    const most = Number(root.dataset.hands);
    const asked = Number(link.get("hands"));
    const hands = Number.isInteger(asked) && asked >= 1 && asked <= most ? asked : most;
    const seed = box("bl-seed");
    const said = box("bl-said");
    let state = null; // the running lesson: its set, hand, its truth, the system's estimate on its way, and results

    function showLink() {
      const address = new URL(location.href);
      address.search = hands === most ? `?lesson=${seed.value}` : `?lesson=${seed.value}&hands=${hands}`;
      address.hash = "";
      box("bl-link").href = address.href;
      box("bl-link").textContent = address.href;
    }

    async function next() {
      const { set, of, own } = state;
      const number = state.results.length + 1;
      const mine = state;
      said.innerHTML = own ? "<p>The radiograph is being read.</p>" : "<p>The hand is being drawn.</p>";
      box("bl-truth").innerHTML = "";
      box("bl-next").hidden = true;
      box("bl-reveal").disabled = true;
      box("bl-picture").style.opacity = 0.3; // still the last hand
      try {
        const hand = await ask({ about: "hand", ...set, hand: number });
        if (state !== mine) return;
        // Asked for now, so that it is there when the student has read the hand; never shown before.
        const estimate = ask({ ...set, hand: number }, "networks").then((told) => ({ told }), (error) => ({ error }));
        state.hand = { ...hand, number, estimate };
        said.innerHTML = "";
        box("bl-reading").hidden = false;
        box("bl-which").textContent = `Hand ${number} of ${of}: ${SEX[hand.sex].toLowerCase()}`;
        const picture = box("bl-picture");
        picture.src = hand.picture;
        picture.style.opacity = 1;
        picture.alt = own ? "Radiograph of your own, bone age to be read" : `Drawn hand, no child: ${SEX[hand.sex].toLowerCase()}, bone age to be read`;
        one(".baa-tag", picture.parentElement).hidden = own;
        box("bl-answer").reset();
        box("bl-reveal").disabled = false;
        box("bl-years").focus({ preventScroll: true });
      } catch (error) {
        said.innerHTML = failed(error);
      }
    }

    async function reveal() {
      const [typed, rest] = [box("bl-years").value, box("bl-months").value];
      if (typed === "" && rest === "") {
        box("bl-truth").innerHTML = failed(new Error("Type years, months or both, then press Reveal."));
        return;
      }
      const { hand } = state;
      const mine = state;
      const read = 12 * Number(typed) + Number(rest);
      box("bl-reveal").disabled = true;
      const error = read - hand.months;
      const verdict = error === 0 ? "exact" : `${Math.abs(error)} month${Math.abs(error) === 1 ? "" : "s"} too ${error > 0 ? "old" : "young"}`;
      const rows = [
        `<tr id="bl-true"><th scope="row">${state.own ? "Label" : "Drawn bone age"}</th><td>${years(hand.months)}</td><td></td></tr>`,
        `<tr id="bl-yours"><th scope="row">Your reading</th><td>${years(read)}</td><td>${verdict}</td></tr>`,
      ];
      const table = (system) => `<table class="bl-table">${rows.join("")}${system}</table>`;
      box("bl-truth").innerHTML = table('<tr id="bl-system"><th scope="row">System</th><td colspan="2">is being estimated</td></tr>');
      const { told, error: refused } = await hand.estimate;
      if (state !== mine) return;
      const result = { number: hand.number, sex: hand.sex, truth: hand.months, read, system: told?.months ?? null };
      state.results.push(result);
      box("bl-truth").innerHTML = told
        ? table(`<tr id="bl-system"><th scope="row">System</th><td>${years(told.months)}<br><small>90 % interval ${years(told.low)} to ${years(told.high)}</small></td><td>${signed(told.months - hand.months)} months</td></tr>`) +
          `<figure class="bl-figure bl-small"><div class="bl-frame">${state.own ? "" : TAG}<img src="${told.map}" alt="Heatmap of the system's estimate"></div><figcaption>Heatmap: which pixels moved the number. It is not a finding.</figcaption></figure>`
        : table('<tr id="bl-system"><th scope="row">System</th><td colspan="2">gave no estimate</td></tr>') + failed(refused);
      if (state.results.length < state.of) {
        box("bl-next").hidden = false;
        box("bl-next").focus({ preventScroll: true });
      } else score();
    }

    function score() {
      const { results, set, own } = state;
      const errors = results.map(({ read, truth }) => read - truth);
      const those = results.filter(({ system }) => system !== null).map(({ system, truth }) => system - truth);
      const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
      const cell = (values, of) => (values.length ? of(values) : "none");
      const size = (values) => `${mean(values.map(Math.abs)).toFixed(1)} months`;
      const bias = (values) => `${signed(mean(values))} months`;
      const lines = results.map(({ number, sex, truth, read, system }) => `<tr><th scope="row">${number}. ${SEX[sex]}</th>
        <td>${years(truth)}</td><td>${years(read)} (${signed(read - truth)})</td>
        <td>${system === null ? "no estimate" : `${years(system)} (${signed(system - truth)})`}</td></tr>`);
      box("bl-score").innerHTML = `<h3>${own ? "Result of your own radiographs" : `Result of set ${set.seed}`}</h3><table class="bl-table"><thead><tr><th>${results.length} hand${results.length === 1 ? "" : "s"}</th>
        <th>You</th><th>System</th><th>Single readers, published</th></tr></thead><tbody>
        <tr id="bl-mean-error"><th scope="row">Mean absolute error</th><td>${size(errors)}</td><td>${cell(those, size)}</td><td>${escaped(root.dataset.readers)}</td></tr>
        <tr id="bl-bias"><th scope="row">Bias (mean error; + is too old)</th><td>${bias(errors)}</td><td>${cell(those, bias)}</td><td></td></tr>
        </tbody></table>
        <div class="bl-scroll" tabindex="0" role="region" aria-label="Results by hand"><table class="bl-table"><thead><tr><th>Hand</th><th>${own ? "Label" : "Drawn"}</th><th>You</th><th>System</th></tr></thead>
        <tbody>${lines.join("")}</tbody></table></div>`;
      box("bl-score").hidden = false;
    }

    function begin(own = 0) {
      showLink();
      state = { set: own ? { own: true } : { seed: Number(seed.value) }, of: own || hands, own: Boolean(own), results: [], hand: null };
      box("bl-score").hidden = true;
      box("bl-reading").hidden = true;
      next();
    }

    async function worksheet() {
      if (!seed.reportValidity()) return;
      const set = Number(seed.value);
      said.innerHTML = "<p>The worksheet is being drawn (some seconds).</p>";
      try {
        const { pdf } = await ask({ about: "worksheet", seed: set });
        const bytes = Uint8Array.from(atob(pdf), (sign) => sign.charCodeAt(0));
        const file = document.createElement("a");
        file.href = URL.createObjectURL(new Blob([bytes], { type: "application/pdf" }));
        file.download = `bone-age-worksheet-${set}.pdf`;
        file.click();
        said.innerHTML = `<p>Worksheet of set ${set}: ${escaped(file.download)}</p>`;
      } catch (error) {
        said.innerHTML = failed(error);
      }
    }

    if (linked) seed.value = linked;
    else seed.value = Math.floor(Math.random() * 10000);
    showLink();
    seed.addEventListener("input", showLink);
    box("bl-begin").addEventListener("submit", (event) => { event.preventDefault(); begin(); });
    box("bl-answer").addEventListener("submit", (event) => { event.preventDefault(); reveal(); });
    box("bl-next").addEventListener("click", next);
    document.addEventListener("click", (event) => {
      const button = event.target.closest("#bl-own"); // beside this part, in what the server says about the files
      if (button) begin(Number(button.dataset.hands));
    });
    box("bl-worksheet").addEventListener("click", worksheet);
    if (linked !== null) begin();
  }

  // ---- Limits ------------------------------------------------------------------------------------------------------
  function limits(root) {
    const button = one("#bl-try", root);
    const place = one("#bl-tried", root);
    button.addEventListener("click", async () => {
      const change = one('input[name="bl-change"]:checked', root).value;
      button.disabled = true;
      place.innerHTML = "<p>The hand is being assessed.</p>";
      try {
        const { picture, before, after, refused } = await ask({ change }, "networks");
        const outcome = after
          ? `<tr id="bl-after"><th scope="row">${escaped(change[0].toUpperCase() + change.slice(1))}</th><td>${years(after.months)}</td><td>${signed(after.months - before.months)} months</td></tr>`
          : `<tr id="bl-after"><th scope="row">${escaped(change[0].toUpperCase() + change.slice(1))}</th><td colspan="2">no estimate: ${escaped(refused)}</td></tr>`;
        const cautions = (after?.cautions ?? []).map((caution) => `<li>${escaped(caution)}</li>`).join("");
        place.innerHTML = `<div class="bl-two"><figure class="bl-figure"><div class="bl-frame">${TAG}<img src="${picture}" alt="Drawn hand, no child: ${escaped(change)}"></div></figure>
          <div><table class="bl-table"><tr><th scope="row">Unchanged</th><td>${years(before.months)}</td><td></td></tr>${outcome}</table>
          <p class="bl-fine">Drawn bone age: 10 years.</p>${cautions ? `<p>What the system says about it:</p><ul>${cautions}</ul>` : ""}</div></div>`;
      } catch (error) {
        place.innerHTML = failed(error);
      }
      button.disabled = false;
    });
  }

  // ---- Beginning when a part is on the page ------------------------------------------------------------------------
  const parts = { "#baa-learn-hand": growingHand, "#baa-learn-lesson": lesson, "#baa-learn-limits": limits };
  let due = false;
  let opened = linked === null;

  function open() {
    // A tab that has no room is in the menu of further tabs, and can be pressed there while the menu is closed.
    const title = (tab) => globalThis.baaLanguage.english(tab).trim();
    const named = (text) =>
      all("button[role=tab]").find((tab) => title(tab) === text && tab.offsetParent) ??
      all(".overflow-dropdown button").find((tab) => title(tab) === text);
    const inner = named("Lesson");
    if (inner) {
      inner.click();
      opened = true;
    } else named("Learn")?.click();
  }

  function look() {
    due = false;
    if (!opened) open();
    for (const [path, begin] of Object.entries(parts)) {
      const root = one(`${path}:not([data-begun])`);
      if (!root || !root.offsetParent) continue;
      root.dataset.begun = "yes";
      begin(root);
      for (const entry of all("[data-until-begun]", root)) entry.disabled = false; // nothing typed or pressed is lost
    }
  }

  const soon = () => {
    if (due) return;
    due = true;
    setTimeout(look, 60);
  };
  new MutationObserver(soon).observe(document, { childList: true, subtree: true, attributes: true, attributeFilter: ["style", "class", "aria-selected"] });
})();
