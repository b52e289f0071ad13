// Choosers, transport, places to go to, and the keyboard.

function label(tag, text, className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = className;
  return element;
}

function button(text, act, title = "") {
  const element = label("button", text);
  element.type = "button";
  element.title = title;
  if (title) element.setAttribute("aria-label", title);
  element.addEventListener("click", act);
  return element;
}

/** Return a chooser; `options` are [value, text], `choose` takes the value. */
function chooser(text, options, choose) {
  const element = document.createElement("select"), around = label("label", text);
  around.append(element);
  element.addEventListener("change", () => choose(element.value));
  const fill = (given) => element.replaceChildren(...given.map(([value, said]) => new Option(said, value)));
  fill(options);
  return { around, element, fill };
}

function choosersView(element) {
  const pathsOf = (set) => set.paths.map(([name, n], k) => [k, `${name} (${n} frames)`]);
  const sets = chooser("set", scene.sets.map((set, k) => [k, set.name]), (value) => change({ set: Number(value) }));
  const paths = chooser("path", pathsOf(shownSet()), (value) => change({ path: Number(value) }));
  const axes = scene.axes.map((axis) => [axis.key, axis.label]);
  const x = chooser("across", axes, (value) => change({ x: value }));
  const y = chooser("up", axes, (value) => change({ y: value }));
  element.append(sets.around, paths.around, x.around, y.around);
  const show = (changed) => {
    if (!changed || changed.has("set")) paths.fill(pathsOf(shownSet()));
    for (const [one, key] of [[sets, "set"], [paths, "path"], [x, "x"], [y, "y"]]) one.element.value = String(state[key]);
  };
  whenChanged(show);
  show();
}

const SPEEDS = [3, 6, 12, 24, 48];

function transportView(element) {
  const toggle = button("Play", () => change({ playing: !state.playing }), "");
  toggle.className = "play";
  const slider = document.createElement("input");
  slider.type = "range";
  slider.min = 0;
  slider.setAttribute("aria-label", "frame");
  slider.addEventListener("input", () => change({ frame: Number(slider.value), playing: false }));
  const speed = chooser("speed", SPEEDS.map((n) => [n, `${n} frames/s`]), (value) => change({ speed: Number(value) }));
  element.append(toggle, button("◂", () => step(-1), "Frame before"), button("▸", () => step(1), "Next frame"), slider, speed.around);
  if (scene.atoms) element.append(button("Save PDB", savePdb, "Save the shown path as PDB"));
  element.append(button("Map CSV", saveMap, "Save what the map shows as CSV"));
  const show = () => {
    toggle.textContent = state.playing ? "Pause" : "Play";
    toggle.setAttribute("aria-pressed", String(state.playing));
    slider.max = pathOf(shownSet(), state.path).n - 1;
    slider.value = state.frame;
    speed.element.value = String(state.speed);
  };
  whenChanged(show);
  show();
  play();
}

function step(by) { change({ frame: state.frame + by, playing: false }); }

/** While playing, show one frame after the other, and begin again at the end. */
function play() {
  let last = 0;
  const tick = (now) => {
    if (state.playing && now - last >= 1000 / state.speed) {
      last = now;
      change({ frame: (state.frame + 1) % pathOf(shownSet(), state.path).n });
    }
    requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
}

/** Say in numbers what is shown. */
function readoutView(element) {
  const show = () => {
    const set = shownSet(), row = shownRow(), { n } = pathOf(set, state.path);
    const at = (key) => column(set.table, key)[row];
    const said = [[set.name, pathOf(set, state.path).name], ["frame", `${state.frame + 1} of ${n}${n > 1 && at("frame") !== state.frame ? ` (number ${at("frame")} of the run's)` : ""}`]];
    const add = (title, key) => { if (key in set.table.columns && Number.isFinite(at(key))) said.push([title, shown(at(key))]); };
    add(set.time, "time");
    for (const key of new Set([state.x, state.y])) if (key !== "progress") add(axisOf(key).label, key);
    add(scene.traces[0].label, "energy");
    add("progress s [-]", "progress");
    add("p_B [-]", "committor");
    element.replaceChildren(...said.map(([title, value]) => { const part = label("span", `${title} `); part.append(label("b", value)); return part; }));
  };
  whenChanged(show);
  show();
}

/** Offer transition states and channels as places to go to. */
function placesView(element) {
  if (scene.marks.length) element.append(label("span", "transition states"));
  for (const mark of scene.marks) element.append(button(mark.label.split(",")[0], () => change({ ...markPlace(mark), playing: false }), mark.label));
  const lines = scene.lines.filter((line) => line.at !== null);
  if (lines.length) element.append(label("span", "nearest frame of this set to the"));
  for (const line of lines) {
    const go = button(line.label, () => change({ ...nearestToLine(line, line.at), playing: false }), "");
    go.style.borderLeftColor = line.color;
    element.append(go);
  }
}

function noteView(element) {
  const show = () => {
    const set = shownSet();
    const error = set.error === undefined ? "" : ` Coordinates are within ${set.error.toExponential(1)} nm of the run's.`;
    element.textContent = set.note + error;
  };
  whenChanged(show);
  show();
}

const KEYS = {
  " ": () => change({ playing: !state.playing }),
  ArrowLeft: () => step(-1),
  ArrowRight: () => step(1),
  Home: () => change({ frame: 0, playing: false }),
  End: () => change({ frame: Infinity, playing: false }),
  "[": () => change({ path: state.path - 1 }),
  "]": () => change({ path: state.path + 1 }),
  "{": () => change({ set: clamp(state.set - 1, scene.sets.length) }),
  "}": () => change({ set: clamp(state.set + 1, scene.sets.length) }),
  "-": () => change({ speed: SPEEDS[clamp(SPEEDS.indexOf(state.speed) - 1, SPEEDS.length)] }),
  "+": () => change({ speed: SPEEDS[clamp(SPEEDS.indexOf(state.speed) + 1, SPEEDS.length)] }),
};

/** Act on keys, but where the focused element has a use for them itself. */
function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    const own = event.target.closest("select, input") || (event.key === " " && event.target.closest("button, a"));
    if (own || event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
    event.preventDefault();
    KEYS[event.key]();
  });
}
