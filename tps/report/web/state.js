// The page's one state. Everything that is seen follows from it; tests read it as window.tps.state.

const state = {
  set: scene.first,
  path: 0,
  frame: 0,
  x: scene.axes[0].key,
  y: scene.axes[1].key,
  playing: false,
  speed: 12, // frames a second
};
const listeners = [];

/** Call `listener(changed)` after each change of the state, with the names of what has changed. */
function whenChanged(listener) { listeners.push(listener); }

/** Change the state. Another set starts with its first path, another path with its first frame, unless these are given. */
function change(patch) {
  const next = { ...state, ...patch };
  if (next.set !== state.set) next.path = patch.path ?? 0;
  if (next.set !== state.set || next.path !== state.path) next.frame = patch.frame ?? 0;
  next.path = clamp(next.path, scene.sets[next.set].paths.length);
  next.frame = clamp(next.frame, pathOf(scene.sets[next.set], next.path).n);
  const changed = new Set(Object.keys(state).filter((key) => state[key] !== next[key]));
  Object.assign(state, next);
  if (changed.size) for (const listener of listeners) listener(changed);
}

const clamp = (k, n) => Math.max(0, Math.min(n - 1, k));
const shownSet = () => scene.sets[state.set];

/** Return the row of the shown frame in its set's table. */
const shownRow = () => pathOf(shownSet(), state.path).start + state.frame;

/** Return {path, frame} of a row of a set's table. */
function placeOf(set, row) {
  let path = set.paths.length - 1;
  while (pathOf(set, path).start > row) path--;
  return { path, frame: row - pathOf(set, path).start };
}

window.tps = { state, scene, change, value: (key) => column(shownSet().table, key)[shownRow()] };
