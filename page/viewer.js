// The stage as a viewer: zoom, pan, window and level, layers, all in the browser. `page/viewer.py` gives the figure;
// OpenSeadragon (page/static) zooms and pans. Places are pixels of the radiograph as read. Loaded in the page's head.
(() => {
  const STEP = 1.25; // of zoom, by button and key
  const PAN = 0.1; // of the stage, by arrow key
  const DRAG = 400; // px of drag that move window or level over the whole range of grey
  const remembered = { layers: {} }; // layers shown and their opacity, as last chosen
  let number = 0;

  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  class Stage {
    constructor(figure) {
      this.figure = figure;
      this.held = JSON.parse(figure.dataset.baaViewer);
      this.ratio = this.held.height / this.held.width;
      this.id = `baa-window-${number++}`;
      this.reset();
      this.plain = figure.querySelector(".baa-plain");
      this.base = figure.querySelector(".baa-base");
      this.holder = make("div", { className: "baa-holder" });
      this.plain.after(this.holder);
      this.layers = [...figure.querySelectorAll(".baa-layer")];
      this.controls(); // first: they take their part of the stage
      const reduced = matchMedia("(prefers-reduced-motion: reduce)").matches;
      this.viewer = OpenSeadragon({
        element: this.holder, tileSources: { type: "image", url: this.base.src, buildPyramid: true },
        drawer: "canvas", showNavigationControl: false, animationTime: reduced ? 0 : 0.2, immediateRender: true,
        maxZoomPixelRatio: 24, minZoomImageRatio: 0.6, visibilityRatio: 0.2, zoomPerScroll: STEP,
        gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
        gestureSettingsTouch: { pinchToZoom: true, dblTapToZoom: true },
        gestureSettingsPen: { clickToZoom: false },
      });
      this.viewer.addHandler("open", () => this.opened());
      for (const name of ["canvas-scroll", "canvas-pinch", "canvas-double-click"]) {
        this.viewer.addHandler(name, () => { this.fitted = false; });
      }
      this.viewer.addHandler("canvas-press", (event) => { this.from = event.position; });
      this.viewer.addHandler("canvas-drag", (event) => this.dragged(event));
      this.viewer.addHandler("canvas-drag-end", (event) => this.dropped(event));
      this.viewer.addHandler("zoom", () => this.tell());
      this.viewer.addHandler("after-resize", () => {
        if (this.fitted) this.fit(true);
        this.tell();
      });
      this.viewer.canvas.setAttribute("aria-label", `${this.base.alt}. Keys: + and - zoom, arrows move, 0 fits, 1 shows full size, i inverts.`);
      this.viewer.canvas.setAttribute("role", "application");
      this.holder.addEventListener("keydown", (event) => this.pressed(event), true);
    }

    opened() {
      for (const layer of this.layers) {
        layer.hidden = false;
        this.viewer.addOverlay({ element: layer, location: new OpenSeadragon.Rect(0, 0, 1, this.ratio) });
      }
      this.plain.classList.add("baa-away");
      if (this.divider) this.viewer.addOverlay({ element: this.divider, location: this.column(this.side) });
      this.showLayers();
      this.showWindow();
      this.fit(true);
      this.tell();
      this.figure.dataset.open = "yes";
    }

    // Window and level: shares of the range from black to white. The same line maps grey to grey on the screen and in
    // the download.
    reset() {
      this.window = 1;
      this.level = 0.5;
      this.inverted = false;
    }

    line() {
      const slope = 1 / Math.max(0.02, this.window);
      const intercept = 0.5 - this.level * slope;
      return this.inverted ? [-slope, 1 - intercept] : [slope, intercept];
    }

    showWindow() {
      const [slope, intercept] = this.line();
      for (const one of this.transfer.children) {
        one.setAttribute("slope", slope);
        one.setAttribute("intercept", intercept);
      }
      const canvas = this.viewer.drawer?.canvas;
      if (canvas) {
        canvas.style.filter = "none";
        if (slope !== 1 || intercept !== 0) canvas.style.filter = `url(#${this.id})`;
      }
      this.windowSlider.value = Math.round(this.window * 100);
      this.levelSlider.value = Math.round(this.level * 100);
      this.invertButton.setAttribute("aria-pressed", this.inverted);
    }

    dragged(event) {
      if (this.boxing) {
        event.preventDefaultAction = true;
        this.showBox(this.boxTo(event.position));
        return;
      }
      if (!this.windowing && !event.shift) {
        this.fitted = false;
        return;
      }
      event.preventDefaultAction = true;
      this.window = Math.min(1, Math.max(0.02, this.window + event.delta.x / DRAG));
      this.level = Math.min(1, Math.max(0, this.level - event.delta.y / DRAG));
      this.showWindow();
    }

    // A rectangle for the crop by hand, in pixels of the picture as it is seen: [left, top, right, bottom].
    draw(on) {
      this.boxing = on;
      this.holder.classList.toggle("baa-windowing", on || Boolean(this.windowing));
      document.querySelector("#baa-box-draw")?.setAttribute("aria-pressed", on);
      if (on) this.figure.scrollIntoView({ block: "nearest" });
    }

    boxTo(position) {
      const within = (value, most) => Math.min(most, Math.max(0, Math.round(value)));
      const [one, other] = [this.from, position].map((place) => {
        const { x, y } = this.viewer.viewport.viewerElementToViewportCoordinates(place);
        return [within(x * this.held.width, this.held.width), within(y * this.held.width, this.held.height)];
      });
      return [0, 1].map((axis) => Math.min(one[axis], other[axis])).concat([0, 1].map((axis) => Math.max(one[axis], other[axis])));
    }

    dropped(event) {
      if (!this.boxing) return;
      event.preventDefaultAction = true;
      const box = this.boxTo(event.position);
      this.draw(false);
      this.showBox(box);
      setEdges(box);
    }

    showBox(box) {
      const [left, top, right, bottom] = box ?? [0, 0, 0, 0];
      if (!(right > left && bottom > top)) {
        if (this.box) this.viewer.removeOverlay(this.box);
        this.box = null;
        return;
      }
      const place = new OpenSeadragon.Rect(...[left, top, right - left, bottom - top].map((edge) => edge / this.held.width));
      if (this.box) {
        this.viewer.updateOverlay(this.box, place);
      } else {
        this.box = make("div", { className: "baa-box" });
        this.viewer.addOverlay({ element: this.box, location: place });
      }
    }

    // The heatmap is shown right of a line in the picture: its share of the width from the left.
    column(share) {
      return new OpenSeadragon.Rect(share, 0, 0.00001, this.ratio);
    }

    compare(share) {
      this.side = Math.min(1, Math.max(0, share));
      this.sideSlider.value = Math.round(100 * this.side);
      const picture = this.heat.querySelector("img");
      picture.style.clipPath = this.side ? `inset(0 0 0 ${100 * this.side}%)` : "";
      this.divider.hidden = !this.side;
      this.viewer.updateOverlay(this.divider, this.column(this.side));
    }

    makeDivider() {
      this.side = 0;
      this.heat = this.layers.find((layer) => layer.querySelector("img"));
      if (!this.heat) return;
      this.divider = make("div", { className: "baa-divider", hidden: true });
      this.tracker = new OpenSeadragon.MouseTracker({
        element: this.divider,
        dragHandler: (event) => {
          const across = this.viewer.viewport.deltaPointsFromPixels(event.delta).x;
          this.compare(this.side + across);
        },
      });
    }

    invert() {
      this.inverted = !this.inverted;
      this.showWindow();
    }

    zoom(by) {
      this.fitted = false;
      this.viewer.viewport.zoomBy(by);
      this.viewer.viewport.applyConstraints();
    }

    fit(now = false) {
      this.viewer.viewport.goHome(now);
      this.fitted = true;
    }

    fullSize() {
      this.fitted = false;
      this.viewer.viewport.zoomTo(this.held.width / this.viewer.viewport.getContainerSize().x);
    }

    pan(across, down) {
      const size = this.viewer.viewport.getBounds();
      this.viewer.viewport.panBy(new OpenSeadragon.Point(across * PAN * size.width, down * PAN * size.height));
      this.viewer.viewport.applyConstraints();
    }

    pressed(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const does = {
        "+": () => this.zoom(STEP), "=": () => this.zoom(STEP), "-": () => this.zoom(1 / STEP), 0: () => this.fit(),
        1: () => this.fullSize(), i: () => this.invert(), ArrowLeft: () => this.pan(-1, 0),
        ArrowRight: () => this.pan(1, 0), ArrowUp: () => this.pan(0, -1), ArrowDown: () => this.pan(0, 1),
      }[event.key];
      event.stopPropagation(); // OpenSeadragon has keys of its own
      if (!does) return;
      event.preventDefault();
      does();
    }

    // Where a pixel of the radiograph is on the stage, and back; in CSS px of the stage.
    toStage(column, row) {
      const point = new OpenSeadragon.Point((column + 0.5) / this.held.width, (row + 0.5) / this.held.width);
      const { x, y } = this.viewer.viewport.viewportToViewerElementCoordinates(point);
      return { x, y };
    }

    scale() {
      return this.viewer.viewport.getContainerSize().x * this.viewer.viewport.getZoom() / this.held.width;
    }

    tell() {
      if (this.viewer.viewport) this.zoomed.textContent = `${Math.round(100 * this.scale())} %`;
    }

    showLayers() {
      for (const layer of this.layers) {
        const title = layer.dataset.layer;
        const { on, opacity } = remembered.layers[title];
        layer.style.opacity = opacity;
        layer.style.visibility = on ? "visible" : "hidden";
      }
    }

    controls() {
      const button = (words, label, act, more = {}) => {
        const one = make("button", { type: "button", title: label, onclick: act, className: "baa-tool", ...more }, words);
        one.setAttribute("aria-label", label);
        return one;
      };
      const slider = (label, value, act) => {
        const one = make("input", { type: "range", min: 0, max: 100, oninput: (event) => act(Number(event.target.value) / 100) });
        one.setAttribute("aria-label", label);
        one.value = value;
        return one;
      };
      this.zoomed = make("output", { className: "baa-zoomed" });
      this.invertButton = button("Invert", "Invert grey values (i)", () => this.invert());
      this.windowButton = button("Window", "Drag changes window and level (or Shift and drag)", () => {
        this.windowing = !this.windowing;
        this.windowButton.setAttribute("aria-pressed", this.windowing);
        this.holder.classList.toggle("baa-windowing", this.windowing);
      });
      this.windowButton.setAttribute("aria-pressed", "false");
      this.windowSlider = slider("Window, percent of the grey range", 100, (value) => { this.window = value; this.showWindow(); });
      this.levelSlider = slider("Level, percent of the grey range", 50, (value) => { this.level = value; this.showWindow(); });
      const bar = make("div", { className: "baa-tools" },
        button("+", "Zoom in (+)", () => this.zoom(STEP)), button("−", "Zoom out (-)", () => this.zoom(1 / STEP)),
        button("Fit", "Fit the radiograph into the stage (0)", () => this.fit()),
        button("1:1", "Full size, one pixel of the radiograph for each of the screen (1)", () => this.fullSize()),
        this.zoomed, this.windowButton, this.invertButton,
        button("Reset", "Window, level and polarity as read", () => { this.reset(); this.showWindow(); }),
        button("Download", "Download what is seen as PNG", () => this.download(), { className: "baa-tool baa-download" }),
        this.fullScreen = button("Full", "Full screen", () => document.fullscreenElement ? document.exitFullscreen() : this.figure.requestFullscreen()));
      const row = (words, control) => make("span", { className: "baa-layer-row" }, make("label", {}, words), control);
      const layers = this.layers.map((layer) => {
        const title = layer.dataset.layer;
        const state = remembered.layers[title] ??= { on: layer.dataset.on !== "no", opacity: Number(layer.dataset.opacity) };
        const box = make("input", { type: "checkbox", checked: state.on, onchange: () => { state.on = box.checked; this.showLayers(); } });
        return make("span", { className: "baa-layer-row" }, make("label", {}, box, title),
          slider(`${title}: opacity, percent`, 100 * state.opacity, (value) => { state.opacity = value; this.showLayers(); }));
      });
      this.makeDivider();
      if (this.heat) {
        this.sideSlider = slider("Before and after: the heatmap is shown right of this percentage of the width", 0, (value) => this.compare(value));
        layers.unshift(row("Before | after", this.sideSlider));
      }
      this.holder.before(bar);
      this.holder.after(make("div", { className: "baa-layer-bar" }, row("Window", this.windowSlider), row("Level", this.levelSlider), ...layers));
      const space = "http://www.w3.org/2000/svg";
      const svg = document.createElementNS(space, "svg");
      svg.innerHTML = `<filter id="${this.id}" color-interpolation-filters="sRGB"><feComponentTransfer>${
        ["R", "G", "B"].map((name) => `<feFunc${name} type="linear" slope="1" intercept="0"/>`).join("")
      }</feComponentTransfer></filter>`;
      svg.setAttribute("class", "baa-filter");
      svg.setAttribute("aria-hidden", "true");
      this.figure.append(svg);
      this.transfer = svg.querySelector("feComponentTransfer");
    }

    // What is seen, with the words it belongs to below it: a canvas.
    snapshot() {
      const view = this.viewer.drawer.canvas;
      const strip = Math.round(view.width / 32) + 12;
      const canvas = make("canvas", { width: view.width, height: view.height + strip });
      const pen = canvas.getContext("2d");
      pen.drawImage(view, 0, 0);
      const grey = pen.getImageData(0, 0, view.width, view.height);
      const [slope, intercept] = this.line();
      const table = Uint8ClampedArray.from({ length: 256 }, (_, value) => slope * value + 255 * intercept);
      for (let i = 0; i < grey.data.length; i += 4) for (let j = 0; j < 3; j++) grey.data[i + j] = table[grey.data[i + j]];
      pen.putImageData(grey, 0, 0);
      pen.globalCompositeOperation = "destination-over";
      pen.fillStyle = "#000";
      pen.fillRect(0, 0, canvas.width, canvas.height);
      pen.globalCompositeOperation = "source-over";
      const dense = view.width / this.viewer.viewport.getContainerSize().x;
      const { x, y } = this.viewer.viewport.viewportToViewerElementCoordinates(new OpenSeadragon.Point(0, 0));
      const scale = this.scale() * dense;
      const matrix = new DOMMatrix([scale, 0, 0, scale, x * dense, y * dense]);
      for (const layer of this.layers) {
        if (layer.style.visibility === "hidden") continue;
        pen.globalAlpha = Number(layer.style.opacity);
        const picture = layer.querySelector("img");
        if (picture) {
          const [width, height] = [scale * this.held.width, scale * this.held.height];
          pen.save();
          pen.beginPath();
          pen.rect(x * dense + width * this.side, y * dense, width * (1 - this.side), height);
          pen.clip();
          pen.drawImage(picture, x * dense, y * dense, width, height);
          pen.restore();
        }
        const common = layer.querySelector("svg")?.getAttribute("stroke") ?? "#fff";
        pen.lineWidth = 1.5 * dense;
        for (const shape of layer.querySelectorAll("path, circle")) {
          pen.strokeStyle = shape.getAttribute("stroke") ?? common;
          const path = new Path2D();
          const own = new Path2D(shape.getAttribute("d") ?? undefined);
          if (shape.tagName === "circle") own.arc(...["cx", "cy", "r"].map((name) => Number(shape.getAttribute(name))), 0, 7);
          path.addPath(own, matrix);
          pen.stroke(path);
        }
        pen.textAlign = "center";
        for (const name of layer.querySelectorAll("text")) {
          const place = matrix.transformPoint(new DOMPoint(Number(name.getAttribute("x")), Number(name.getAttribute("y"))));
          pen.font = `${scale * Number(name.getAttribute("font-size"))}px sans-serif`;
          pen.strokeStyle = "#000";
          pen.strokeText(name.textContent, place.x, place.y);
          pen.fillStyle = name.getAttribute("fill");
          pen.fillText(name.textContent, place.x, place.y);
        }
        pen.textAlign = "start";
      }
      pen.globalAlpha = 1;
      pen.fillStyle = "#000";
      pen.fillRect(0, view.height, canvas.width, strip);
      pen.fillStyle = "#fff";
      pen.font = `${Math.max(10, Math.round(strip * 0.42))}px system-ui, sans-serif`;
      pen.fillText(this.held.words, 8, view.height + strip * 0.65, canvas.width - 16);
      return canvas;
    }

    download() {
      this.snapshot().toBlob((blob) => give(blob, this.held.file));
    }
  }

  // The four edges of the crop by hand, as boxes on the page; what is typed there is drawn on the stage, and back.
  const EDGES = ["left", "top", "right", "bottom"].map((edge) => `#baa-box-${edge} input, #baa-box-${edge} textarea`);
  const stageNow = () => document.querySelector("#baa-picture figure[data-stage]")?.baaStage;

  function setEdges(box) {
    EDGES.forEach((edge, number) => {
      const field = document.querySelector(edge);
      if (!field || field.value === String(box?.[number] ?? "")) return;
      field.value = box?.[number] ?? "";
      field.dispatchEvent(new Event("input", { bubbles: true }));
    });
  }

  document.addEventListener("input", (event) => {
    if (!EDGES.some((edge) => event.target.matches?.(edge))) return;
    const box = EDGES.map((edge) => document.querySelector(edge)?.value.trim());
    stageNow()?.showBox(box.every((value) => /^\d+$/.test(value)) ? box.map(Number) : null);
  });

  function drawBox() {
    const stage = stageNow();
    stage?.draw(!stage.boxing);
  }

  function give(blob, name) {
    const link = make("a", { href: URL.createObjectURL(blob), download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  // A report made on the server, as page/report_menu.py packs it, becomes a file of the browser.
  function save(said) {
    if (!said) return;
    const { name, type, data } = JSON.parse(said);
    give(new Blob([Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0))], { type }), name);
  }

  function copy(words) {
    const done = () => {
      const button = document.querySelector("#baa-copy");
      if (!button) return;
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy text"; }, 2000);
    };
    const byHand = () => {
      const box = document.querySelector("#baa-report-text textarea");
      box?.select();
      if (document.execCommand("copy")) done();
    };
    if (navigator.clipboard) navigator.clipboard.writeText(words).then(done, byHand);
    else byHand();
  }

  globalThis.baa = { ...globalThis.baa, save, copy, drawBox };

  let due = false;
  const stages = new Set();
  function look() {
    due = false;
    for (const stage of stages) {
      if (stage.figure.isConnected) continue;
      stages.delete(stage);
      stage.tracker?.destroy();
      stage.viewer.destroy();
    }
    for (const figure of document.querySelectorAll("figure[data-baa-viewer]:not([data-stage])")) {
      if (!globalThis.OpenSeadragon) return; // the picture is shown as it is until the library has come
      figure.dataset.stage = "yes";
      figure.baaStage = new Stage(figure);
      stages.add(figure.baaStage);
      if (figure.closest("#baa-picture")) setEdges(null); // a rectangle is of one picture
    }
  }
  new MutationObserver(() => {
    if (due) return;
    due = true;
    queueMicrotask(look);
  }).observe(document, { childList: true, subtree: true });
})();
