"use strict";
// Texts come from file names, which may contain anything: only set them as textContent or draw them.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const element = (id) => document.getElementById(id);
  const [map, stage, tip, thumbnail] = ["map", "stage", "tip", "thumbnail"].map(element);
  const pen = map.getContext("2d");
  const { x, y, who, names, marks } = data;
  const count = x.length;
  const UNKNOWN = -1;
  const NEAR = 14, NEAR_FINGER = 24, STEP = 1.5, MOST = 400, FAINT = 0.1, NAMED = 40, CROWD = 0.08, HELP = 24;

  let view = { scale: 1, left: 0, top: 0 };
  let fitted = view;
  let alone = null;
  let hovered = -1;
  let signs = new Map();
  let awaited = false;

  // --- the marks ---------------------------------------------------------------------------------

  const colors = () => {
    const style = getComputedStyle(document.documentElement);
    return Object.fromEntries(["paper", "ground", "ink"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  };
  const isDark = () => document.documentElement.dataset.theme === "dark";
  const markOf = (person) => (person === UNKNOWN ? data.unknownMark : marks[person % marks.length]);

  const SHAPES = {
    "o": (c, r) => c.arc(0, 0, r, 0, 2 * Math.PI),
    "s": (c, r) => c.rect(-0.88 * r, -0.88 * r, 1.76 * r, 1.76 * r),
    "D": (c, r) => polygon(c, [[0, -1.2 * r], [1.2 * r, 0], [0, 1.2 * r], [-1.2 * r, 0]]),
    "^": (c, r) => polygon(c, [[0, -1.15 * r], [1.1 * r, 0.9 * r], [-1.1 * r, 0.9 * r]]),
    "v": (c, r) => polygon(c, [[0, 1.15 * r], [1.1 * r, -0.9 * r], [-1.1 * r, -0.9 * r]]),
    "P": (c, r) => cross(c, r, 0),
    "X": (c, r) => cross(c, r, Math.PI / 4),
  };
  function polygon(c, corners) {
    corners.forEach(([a, b], i) => (i ? c.lineTo(a, b) : c.moveTo(a, b)));
    c.closePath();
  }
  function cross(c, r, turn) {
    const [a, b] = [1.15 * r, 0.42 * r];
    const corners = [[-b, -a], [b, -a], [b, -b], [a, -b], [a, b], [b, b], [b, a], [-b, a], [-b, b], [-a, b], [-a, -b], [-b, -b]];
    polygon(c, corners.map(([p, q]) => [p * Math.cos(turn) - q * Math.sin(turn), p * Math.sin(turn) + q * Math.cos(turn)]));
  }

  // Cached for each color, shape and size: drawing twenty thousand paths would take longer than a frame.
  function signOf(person, radius) {
    const mark = markOf(person);
    const key = `${mark.color}${mark.shape}${radius}`;
    if (!signs.has(key)) {
      const side = Math.ceil(2 * (1.3 * radius + 2) * devicePixelRatio);
      const sign = Object.assign(document.createElement("canvas"), { width: side, height: side });
      drawSign(sign.getContext("2d"), mark, radius, side / 2, devicePixelRatio);
      signs.set(key, sign);
    }
    return signs.get(key);
  }
  function drawSign(c, mark, radius, middle, ratio) {
    c.setTransform(ratio, 0, 0, ratio, middle, middle);
    c.beginPath();
    SHAPES[mark.shape](c, radius);
    c.fillStyle = isDark() ? mark.on_dark : mark.color;
    c.strokeStyle = colors().paper;
    c.lineWidth = Math.min(1.2, 0.2 * radius);
    c.lineJoin = "round";
    c.fill();
    c.stroke();
  }

  // --- the map -----------------------------------------------------------------------------------

  const radius = () => {
    const closer = Math.sqrt(view.scale / fitted.scale);
    const size = Math.min(5.5, Math.max(1.6, Math.sqrt(14000 / count) * (stage.clientWidth / 900)));
    return Math.round(2 * Math.min(9, size * closer)) / 2;
  };
  const placeX = (i) => x[i] * view.scale + view.left;
  const placeY = (i) => view.top - y[i] * view.scale;

  const isSeen = (i) => placeX(i) > 0 && placeY(i) > 0 && placeX(i) < stage.clientWidth && placeY(i) < stage.clientHeight;

  function extent(values) {
    let [low, high] = [Infinity, -Infinity];
    for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
    return [low, high];
  }
  function fit() {
    const [[left, right], [bottom, top]] = [extent(x), extent(y)];
    const [width, height] = [stage.clientWidth, stage.clientHeight - HELP];
    const scale = 0.92 * Math.min(width / (right - left || 1), height / (top - bottom || 1));
    fitted = { scale, left: width / 2 - (scale * (left + right)) / 2, top: height / 2 + (scale * (top + bottom)) / 2 };
    view = fitted;
    redraw();
  }
  function zoom(factor, atX = stage.clientWidth / 2, atY = stage.clientHeight / 2) {
    const scale = Math.min(fitted.scale * MOST, Math.max(fitted.scale / 2, view.scale * factor));
    const change = scale / view.scale;
    view = { scale, left: atX - (atX - view.left) * change, top: atY - (atY - view.top) * change };
    redraw();
  }
  function pan(byX, byY) {
    view = { ...view, left: view.left + byX, top: view.top + byY };
    redraw();
  }

  function redraw() {
    if (awaited) return;
    awaited = true;
    requestAnimationFrame(() => { awaited = false; draw(); });
  }
  function draw() {
    const [width, height, ratio, size] = [stage.clientWidth, stage.clientHeight, devicePixelRatio, radius()];
    const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (map.width !== wide || map.height !== high) [map.width, map.height] = [wide, high];
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, wide, high);
    if (alone !== null) drawFaces((person) => person !== alone, FAINT, size);
    drawFaces((person) => alone === null || person === alone, 0.92, size);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    drawNames();
    if (hovered >= 0) ring(hovered, size);
    // The transform, for scripts that control the page: screen x = left + x * scale, y = top - y * scale.
    map.dataset.view = JSON.stringify(view);
    showTip();
  }
  function drawFaces(shown, alpha, size) {
    const [ratio, width, height, own] = [devicePixelRatio, stage.clientWidth + 12, stage.clientHeight + 12, []];
    pen.globalAlpha = alpha;
    for (let i = 0; i < count; i++) {
      const person = who[i];
      if (!shown(person)) continue;
      const [a, b] = [placeX(i), placeY(i)];
      if (a < -12 || b < -12 || a > width || b > height) continue;
      const sign = (own[person + 1] ??= signOf(person, size));
      pen.drawImage(sign, Math.round(a * ratio - sign.width / 2), Math.round(b * ratio - sign.height / 2));
    }
    pen.globalAlpha = 1;
  }
  function ring(i, size) {
    pen.beginPath();
    pen.arc(placeX(i), placeY(i), size + 4, 0, 2 * Math.PI);
    pen.strokeStyle = colors().ink;
    pen.lineWidth = 2;
    pen.stroke();
  }

  // --- names on the map, above clusters of a person's faces ------------------------------------------

  const middle = (values) => values.sort((a, b) => a - b)[values.length >> 1];
  const crowds = names.length > NAMED ? [] : names.flatMap((name, person) => {
    const mine = who.flatMap((owner, i) => (owner === person ? [i] : []));
    const [a, b] = [middle(mine.map((i) => x[i])), middle(mine.map((i) => y[i]))];
    const side = Math.max(...[x, y].map(extent).map(([low, high]) => high - low)) || 1;
    const spread = middle(mine.map((i) => Math.hypot(x[i] - a, y[i] - b)));
    return spread > CROWD * side ? [] : [{ name, person, a, b: b + 2.5 * middle(mine.map((i) => Math.abs(y[i] - b))) }];
  });
  function drawNames() {
    const { ground, ink } = colors();
    const taken = [];
    pen.font = "600 12px system-ui, 'DejaVu Sans', sans-serif";
    pen.textAlign = "center";
    pen.lineWidth = 4;
    pen.lineJoin = "round";
    for (const crowd of crowds) {
      if (alone !== null && crowd.person !== alone) continue;
      const text = crowd.name.length > 24 ? `${crowd.name.slice(0, 23)}…` : crowd.name;
      const half = pen.measureText(text).width / 2;
      const left = crowd.a * view.scale + view.left;
      const base = view.top - crowd.b * view.scale - 8;
      const covers = (other) => Math.abs(other.base - base) < 15 && Math.abs(other.left - left) < other.half + half + 4;
      if (taken.some(covers)) continue;  // a moved name would seem to belong to other faces; zooming in makes room
      taken.push({ left, base, half });
      pen.globalAlpha = 0.85;
      pen.strokeStyle = ground;
      pen.strokeText(text, left, base);
      pen.globalAlpha = 1;
      pen.fillStyle = ink;
      pen.fillText(text, left, base);
    }
  }

  // --- the face under the pointer ----------------------------------------------------------------

  function nearest(atX, atY, reach) {
    let [found, best] = [-1, reach * reach];
    for (let i = 0; i < count; i++) {
      if (alone !== null && who[i] !== alone) continue;
      const distance = (placeX(i) - atX) ** 2 + (placeY(i) - atY) ** 2;
      if (distance < best) [found, best] = [i, distance];
    }
    return found;
  }
  function hover(i) {
    if (i === hovered) return;
    hovered = i;
    map.classList.toggle("found", i >= 0);
    if (i >= 0) {
      element("name").textContent = who[i] === UNKNOWN ? "unknown person" : names[who[i]];
      element("path").textContent = data.paths[i];
      showThumbnail(i);
    }
    redraw();
  }
  function showTip() {
    tip.hidden = hovered < 0;
    if (tip.hidden) return;
    const [a, b, gap] = [placeX(hovered), placeY(hovered), 16];
    const left = a + gap + tip.offsetWidth > stage.clientWidth ? a - gap - tip.offsetWidth : a + gap;
    tip.style.left = `${Math.max(0, left)}px`;
    tip.style.top = `${Math.max(0, Math.min(b - tip.offsetHeight / 2, stage.clientHeight - tip.offsetHeight))}px`;
  }

  // Sheets are decoded on first use, so that a page with many faces opens quickly.
  const sheets = data.sheets.map(() => null);
  function showThumbnail(i) {
    const number = data.thumbnails[i];
    thumbnail.hidden = number < 0;
    if (number < 0) return;
    const c = thumbnail.getContext("2d");
    c.clearRect(0, 0, thumbnail.width, thumbnail.height);
    const { side, columns } = data;
    const sheet = Math.floor(number / columns ** 2);
    const cell = number % columns ** 2;
    if (sheets[sheet] === null) {
      sheets[sheet] = new Image();
      sheets[sheet].src = `data:image/jpeg;base64,${data.sheets[sheet]}`;
    }
    const paint = () => {
      if (hovered !== i) return;
      c.drawImage(sheets[sheet], (cell % columns) * side, Math.floor(cell / columns) * side, side, side, 0, 0, thumbnail.width, thumbnail.height);
    };
    sheets[sheet].decode().then(paint, () => { thumbnail.hidden = true; });
  }

  // --- pointers, wheel and keys ------------------------------------------------------------------

  const pointers = new Map();
  const at = (event) => { const box = map.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  const apart = () => { const [[a, b], [c, d]] = pointers.values(); return { by: Math.hypot(a - c, b - d) || 1, x: (a + c) / 2, y: (b + d) / 2 }; };

  map.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, at(event));
    map.setPointerCapture(event.pointerId);
    hover(nearest(...at(event), event.pointerType === "mouse" ? NEAR : NEAR_FINGER));
  });
  map.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId)) {
      hover(nearest(...at(event), NEAR));
      return;
    }
    const [before, now] = [pointers.get(event.pointerId), at(event)];
    const were = pointers.size === 2 ? apart() : null;
    pointers.set(event.pointerId, now);
    map.classList.add("moving");
    if (were === null) {
      pan(now[0] - before[0], now[1] - before[1]);
      return;
    }
    const are = apart();
    pan(are.x - were.x, are.y - were.y);
    zoom(are.by / were.by, are.x, are.y);
  });
  for (const name of ["pointerup", "pointercancel"]) {
    map.addEventListener(name, (event) => { pointers.delete(event.pointerId); map.classList.remove("moving"); });
  }
  map.addEventListener("pointerleave", () => { if (!pointers.size) hover(-1); });
  map.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    zoom(Math.exp(-Math.max(-200, Math.min(200, event.deltaY * lines)) * 0.002), ...at(event));
  }, { passive: false });

  const KEYS = {
    "+": () => zoom(STEP), "=": () => zoom(STEP), "-": () => zoom(1 / STEP), "0": fit, "t": turn, "Escape": () => isolate(null),
    "ArrowLeft": () => pan(60, 0), "ArrowRight": () => pan(-60, 0), "ArrowUp": () => pan(0, 60), "ArrowDown": () => pan(0, -60),
  };
  document.addEventListener("keydown", (event) => {
    if (event.target.tagName === "INPUT" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key.startsWith("Arrow") && event.target !== map && event.target !== document.body) return;
    if (Object.hasOwn(KEYS, event.key)) { event.preventDefault(); KEYS[event.key](); }
  });
  element("closer").addEventListener("click", () => zoom(STEP));
  element("farther").addEventListener("click", () => zoom(1 / STEP));
  element("whole").addEventListener("click", fit);

  // --- people ------------------------------------------------------------------------------------

  const rows = [];
  function isolate(person) {
    alone = person === alone ? null : person;
    rows.forEach((row, number) => row.firstChild.setAttribute("aria-pressed", String(number === alone)));
    hover(-1);
    if (alone !== null && !who.some((owner, i) => owner === alone && isSeen(i))) fit();
    redraw();
  }
  function listPeople() {
    const counts = new Array(names.length).fill(0);
    for (const person of who) if (person !== UNKNOWN) counts[person]++;
    names.forEach((name, person) => {
      const row = document.createElement("li");
      const button = Object.assign(document.createElement("button"), { type: "button", title: name });
      const sign = Object.assign(document.createElement("canvas"), { width: 36, height: 36 });
      const label = Object.assign(document.createElement("span"), { className: "who", textContent: name });
      const number = Object.assign(document.createElement("span"), { className: "count", textContent: String(counts[person]) });
      button.setAttribute("aria-pressed", "false");
      button.append(sign, label, number);
      button.addEventListener("click", () => isolate(person));
      row.append(button);
      rows.push(row);
    });
    element("people").append(...rows);
    element("people").parentElement.hidden = !names.length;
    element("filter").hidden = names.length < 15;
  }
  element("filter").addEventListener("input", (event) => {
    const wanted = event.target.value.toLowerCase();
    rows.forEach((row, person) => { row.hidden = !names[person].toLowerCase().includes(wanted); });
  });

  // --- light and dark ----------------------------------------------------------------------------

  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  function dress(dark) {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    element("theme").textContent = dark ? "Light" : "Dark";
    signs = new Map();
    rows.forEach((row, person) => {
      const c = row.querySelector("canvas").getContext("2d");
      c.setTransform(1, 0, 0, 1, 0, 0);
      c.clearRect(0, 0, 36, 36);
      drawSign(c, markOf(person), 6, 18, 2);
    });
    redraw();
  }
  function turn() { dress(!isDark()); }
  element("theme").addEventListener("click", turn);
  prefersDark.addEventListener("change", (event) => dress(event.matches));

  // --- and off -----------------------------------------------------------------------------------

  document.title = data.title;
  element("title").textContent = data.title;
  element("subtitle").textContent = data.subtitle;
  map.setAttribute("aria-label", `${data.title}: ${data.subtitle}`);
  listPeople();
  dress(prefersDark.matches);
  fit();
  new ResizeObserver(() => { signs = new Map(); (view === fitted ? fit : redraw)(); }).observe(stage);
})();
