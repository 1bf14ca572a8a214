// The page in the visitor's language. The server writes English; here every text and label is translated as it comes
// onto the page, by the catalogue and the rules of `baa_core/reporting/language.py`. The language is that of the
// browser until another is chosen; it travels with every request, so that charts and reports come in it. Loaded first.
(() => {
  const KEY = "baa-language";
  const SPECIFIC_LETTERS = 16;
  const PLACE = /\{(\d)\}/;
  const PLAIN_NUMBERS = /^[^A-Za-z]*(?:s|min|px|MB|GB|SD|mm)?$/;
  const DIVIDERS = [/((?<=[.!?])\s+)/, /((?<=;)\s+)/, /((?<=:)\s+)/, /(\s·\s)/, /(\s+(?=\([^()]*\)[.,;]?$))/, /((?<=,)\s+)/];
  const NAME = /^(?:[A-Z]{1,5}\d?|[A-Z][a-z]+[A-Z]\w*|\S+\.\w{2,4}|[a-z0-9]+(?:[-_][a-z0-9]+)+)$/;
  const NAMED_NUMBER = /^[a-z0-9]+(?:[-_][a-z0-9]+)+ \d+\.\d+$/;
  const AROUND = [/^()(.+?)([.,:;]+)$/s, /^([([])(.+)([)\]])$/s, /^([.,:;]\s)(.+)()$/s];
  const ATTRIBUTES = ["alt", "title", "aria-label", "aria-valuetext", "placeholder", "data-foreign", "data-outdated", "data-readers"];
  const APART = "script, style, textarea, code, [translate=no], #js-plotly-tester, #baa-model-card";
  const CHART = ".js-plotly-plot";

  // ---- Sentences ---------------------------------------------------------------------------------------------------
  const decimalComma = (text) => {
    const changed = text.replace(/(?<![\d.])(\d+)\.(\d+)(?![\d.])/g, "$1,$2");
    return changed === text ? text : changed.replace(/(?<=\d), (?=[-+−]?\d)/g, "; ");
  };
  const literal = (text) => text.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&");

  // Translates as `_Translator` does: of a text comes [translation, nothing left untranslated], or null.
  function translator(catalogue) {
    const entries = {};
    for (const [key, value] of Object.entries(catalogue)) {
      if ([", ", "; ", ": ", ". "].includes(key.slice(0, 2)) && value.startsWith(key.slice(0, 2))) entries[key.slice(2)] = value.slice(2);
    }
    Object.assign(entries, catalogue);
    const exact = new Map(Object.entries(entries).reverse().map(([key, value]) => [key.toLowerCase(), value]));
    for (const [key, value] of Object.entries(entries)) exact.set(key, value);
    const bare = (key) => key.split(PLACE).filter((_, number) => number % 2 === 0).join("");
    const keys = Object.keys(entries).filter((key) => PLACE.test(key)).sort((one, other) => bare(other).length - bare(one).length);
    const templates = keys.map((key) => {
      const parts = key.split(PLACE);
      const pattern = (some) => new RegExp(`^${parts.map((part, number) => (number % 2 ? `(?<p${part}>${some})` : literal(part))).join("")}$`, "s");
      return { to: entries[key], patterns: [pattern(".*?"), pattern(".*")], specific: bare(key).replace(/[^A-Za-z]/g, "").length >= SPECIFIC_LETTERS };
    });
    for (const key of keys) {
      const [parts, others] = [key.split(PLACE), entries[key].split(PLACE)];
      if (parts.filter((_, number) => number % 2).join() !== others.filter((_, number) => number % 2).join()) continue;
      parts.forEach((part, number) => {
        const piece = part.trim();
        if (number % 2 === 0 && /\S\s+\S/.test(piece) && !exact.has(piece)) exact.set(piece, others[number].trim());
      });
    }
    const known = new Map(Object.values(catalogue).filter((value) => !PLACE.test(value) && !exact.has(value)).map((value) => [value, [value, true]]));

    function find(text) {
      if (!known.has(text)) {
        if (known.size > 20000) known.clear();
        const found = search(text);
        known.set(text, found);
        // A script of the page may put what is translated already into another sentence.
        if (found?.[1] && !known.has(found[0])) known.set(found[0], [found[0], true]);
      }
      return known.get(text);
    }

    function search(text) {
      const same = exact.get(text) ?? exact.get(text.toLowerCase());
      if (same !== undefined) return [same, true];
      if (PLAIN_NUMBERS.test(text) || NAMED_NUMBER.test(text)) return [decimalComma(text), true];
      if (NAME.test(text)) return [text, true];
      const found = byTemplate(text);
      if (found?.[1]) return found;
      const parts = byParts(text);
      return !found || parts?.[1] ? parts : found;
    }

    function byTemplate(text) {
      let loose = null;
      for (const { to, patterns, specific } of templates) {
        for (const pattern of patterns) {
          const matched = pattern.exec(text)?.groups;
          if (!matched) break;
          const values = Object.fromEntries(Object.entries(matched).map(([place, value]) => [place, part(value)]));
          const whole = Object.values(values).every((value) => value?.[1]);
          if (!whole && (loose || !specific || Object.values(matched).some((value) => /[.!?]\s/.test(value)))) continue;
          const filled = to.replace(/\{(\d)\}/g, (_, place) => values[`p${place}`]?.[0] ?? matched[`p${place}`]);
          if (whole) return [filled, true];
          loose = [filled, false];
        }
      }
      return loose;
    }

    function byParts(text) {
      let [least, best] = [0, null];
      for (const divider of DIVIDERS) {
        const parts = text.split(divider);
        if (parts.length === 1) continue;
        const told = parts.map((piece, number) => (number % 2 ? [piece, true] : part(piece)));
        const unknown = told.filter((found) => !found?.[1]).length;
        if (!told.some((found, number) => found && number % 2 === 0) || (best && unknown >= least)) continue;
        [least, best] = [unknown, [told.map((found, number) => found?.[0] ?? parts[number]).join(""), !unknown]];
      }
      return best;
    }

    // A part of a text with the signs around it; "" is known.
    function part(text) {
      const plain = text.trim();
      if (!plain) return [text, true];
      let found = find(plain);
      for (const around of AROUND) {
        const parts = found?.[1] ? null : around.exec(plain);
        const inner = parts && part(parts[2]);
        if (inner && (!found || inner[1])) found = [parts[1] + inner[0] + parts[3], inner[1]];
      }
      return found && [text.replace(plain, () => found[0]), found[1]];
    }
    return part;
  }

  // ---- The language ------------------------------------------------------------------------------------------------
  const LANGUAGES = ["en", "de"];
  const browser = [...(navigator.languages ?? []), navigator.language ?? ""].map((name) => name.slice(0, 2).toLowerCase());
  const stored = (() => {
    try { return localStorage.getItem(KEY); } catch { return null; } // a frame of another site may keep nothing
  })();
  let language = LANGUAGES.includes(stored) ? stored : browser.find((name) => LANGUAGES.includes(name)) ?? "en";
  let [toGerman, toEnglish] = [null, null];
  const missing = new Set(); // texts that were not wholly translated: tests ask for them

  const plain = globalThis.fetch.bind(globalThis);
  globalThis.fetch = (resource, options = {}) => {
    const address = new URL(resource instanceof Request ? resource.url : resource, document.baseURI);
    if (address.origin !== location.origin) return plain(resource, options);
    const headers = new Headers(options.headers ?? (resource instanceof Request ? resource.headers : {}));
    headers.set("Accept-Language", language);
    return plain(resource, { ...options, headers });
  };

  // ---- The page ----------------------------------------------------------------------------------------------------
  const kept = new WeakMap(); // of a text or an element: each English text and what is shown for it

  function said(english, node) {
    const text = english.trim().replace(/\s+/g, " ");
    if (!text) return english;
    // A chart comes in the language of its time, and Gradio's own labels in that of the browser.
    if (language === "en") return toEnglish?.has(text) ? english.replace(english.trim(), () => toEnglish.get(text)) : english;
    if (!toGerman) return english;
    const found = toGerman(text);
    const inChart = (node.parentElement ?? node).closest?.(CHART);
    if (!found?.[1] && !inChart && !node.parentElement?.closest("svg") && /[a-z]{2,}\s+[a-z]{2,}|[A-Z][a-z]{2,}/.test(text)) missing.add(text);
    return found ? english.replace(english.trim(), () => found[0]) : english;
  }

  function renew(node, name, now, put) {
    const of = kept.get(node) ?? {};
    const english = of[name]?.shown === now ? of[name].english : now;
    const shown = said(english, node);
    kept.set(node, { ...of, [name]: { english, shown } });
    if (shown !== now) put(shown);
  }

  function one(node) {
    if (!node.isConnected) return; // gone again, as Plotly does with what it measures
    if (node.nodeType === Node.TEXT_NODE) {
      if (!node.parentElement?.closest(APART)) renew(node, "text", node.data, (text) => { node.data = text; });
    } else if (node.nodeType === Node.ELEMENT_NODE && !node.closest("[translate=no]")) {
      for (const name of ATTRIBUTES) {
        const now = node.getAttribute(name);
        if (now) renew(node, name, now, (text) => node.setAttribute(name, text));
      }
    }
  }

  function whole(root) {
    one(root);
    if (root.nodeType !== Node.ELEMENT_NODE) return;
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) one(walker.currentNode);
  }

  function show() {
    document.documentElement.lang = language;
    for (const button of document.querySelectorAll("[data-baa-language]")) {
      button.setAttribute("aria-pressed", button.dataset.baaLanguage === language);
    }
    whole(document.documentElement);
  }

  function choose(name) {
    language = name;
    try { localStorage.setItem(KEY, name); } catch { /* then for this visit alone */ }
    missing.clear();
    load();
    show();
    document.querySelector("#baa-renew")?.click(); // charts and report text come in it
  }

  let asked = false;
  function load() {
    if (asked || (language === "en" && !browser.includes("de"))) return;
    asked = true;
    document.head.append(Object.assign(document.createElement("script"), { src: document.querySelector("[data-baa-catalogue]").dataset.baaCatalogue }));
  }

  globalThis.baaLanguage = {
    now: () => language,
    choose,
    missing,
    catalogue(entries) {
      toGerman = translator(entries);
      toEnglish = new Map(Object.entries(entries).filter(([english]) => !PLACE.test(english)).map(([english, german]) => [german, english]));
      show();
    },
    // The text of an element as the server wrote it.
    english: (element) => [...element.childNodes].map((node) => kept.get(node)?.text?.english ?? node.textContent).join(""),
    translated: (text) => (language === "de" && toGerman?.(text)?.[0]) || text,
  };
  load();

  new MutationObserver((changes) => {
    for (const { type, target, addedNodes } of changes) {
      if (type === "childList") addedNodes.forEach(whole);
      else one(target);
    }
    for (const button of document.querySelectorAll("[data-baa-language]:not([aria-pressed])")) {
      button.setAttribute("aria-pressed", button.dataset.baaLanguage === language);
    }
    if (document.documentElement.lang !== language) document.documentElement.lang = language;
  }).observe(document, { childList: true, subtree: true, characterData: true, attributes: true, attributeFilter: [...ATTRIBUTES, "lang"] });
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-baa-language]");
    if (button) choose(button.dataset.baaLanguage);
  });
})();
