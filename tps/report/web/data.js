// The scene as numbers: tables of columns, sets of paths, coordinates of atoms.

const scene = JSON.parse(document.getElementById("tps-scene").textContent);

/** Return the numbers behind a base64 text. */
function decode(text, Kind) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new Kind(bytes.buffer);
}

/** Return a column of a table, decoded once; undefined where the table has none of that name. */
function column(table, key) {
  table.decoded ??= {};
  if (!(key in table.decoded) && key in table.columns) table.decoded[key] = decode(table.columns[key], Float32Array);
  return table.decoded[key];
}

/** Return where the frames of a path lie in its set's table: {name, start, n}. */
function pathOf(set, path) {
  if (!set.starts) {
    set.starts = [];
    let start = 0;
    for (const [, n] of set.paths) { set.starts.push(start); start += n; }
  }
  const [name, n] = set.paths[path];
  return { name, n, start: set.starts[path] };
}

/** Return a column over one path's frames. */
function along(set, path, key) {
  const values = column(set.table, key), { start, n } = pathOf(set, path);
  return values && values.subarray(start, start + n);
}

/** Return the coordinates [nm] of every atom in frame `row` of a set's table, x, y, z after one another. */
function coordinates(set, row) {
  set.steps ??= decode(set.positions, Int16Array);
  const size = 3 * scene.atoms.name.length;
  return Float64Array.from(set.steps.subarray(row * size, (row + 1) * size), (whole) => whole * set.step);
}

/** Return the axis of a key. */
const axisOf = (key) => scene.axes.find((axis) => axis.key === key);

/** Return b - a on an axis, the shorter way round where it is an angle. */
function difference(axis, a, b) {
  if (!axis.periodic) return b - a;
  const turn = axis.high - axis.low;
  return b - a - turn * Math.round((b - a) / turn);
}

/** Return a number with as many digits as a reader wants. */
function shown(value) {
  if (!Number.isFinite(value)) return "not known";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential(2);
  return value.toFixed(size >= 100 ? 1 : size >= 1 ? 2 : 3);
}
