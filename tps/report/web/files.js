// Downloads: the shown path as PDB, and what each plot shows as CSV.

function save(name, kind, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: kind }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** Return what the shown path is called in file names. */
function stem() {
  const words = `${scene.name} ${shownSet().name} ${pathOf(shownSet(), state.path).name}`;
  return words.replace(/[^A-Za-z0-9+.-]+/g, "_").replace(/_+$/, "");
}

const csv = (rows) => rows.map((row) => row.map(csvCell).join(",")).join("\n") + "\n";
const csvCell = (value) => (typeof value === "string" ? `"${value.replaceAll('"', '""')}"` : Number.isNaN(value) ? "" : value);

function saveTrace(trace) {
  const set = shownSet(), keys = ["frame", "time", trace.column];
  if (trace.column === "progress" && "committor" in set.table.columns) keys.push("committor");
  const titles = { frame: "frame", time: set.time, [trace.column]: trace.label, committor: "committor p_B [-]" };
  const columns = keys.map((key) => along(set, state.path, key));
  const rows = Array.from(columns[0], (_, k) => columns.map((values) => values[k]));
  save(`${stem()}_${trace.column}.csv`, "text/csv", csv([keys.map((key) => titles[key]), ...rows]));
}

/** Save the shown path, the lines and the cells of the map. */
function saveMap() {
  const [x, y] = [axisOf(state.x), axisOf(state.y)], found = mapOver(x.key, y.key), set = shownSet();
  const rows = [["layer", "number", x.label, y.label, found ? found.map.label : "value"]];
  const points = (layer, xs, ys) => xs.forEach((value, k) => rows.push([layer, k, value, ys[k], NaN]));
  points("shown path", along(set, state.path, x.key), along(set, state.path, y.key));
  for (const line of scene.lines) points(line.label, column(line.table, x.key), column(line.table, y.key));
  if (found) rows.push(...cellRows(found, x, y));
  save(`${scene.name}_map.csv`, "text/csv", csv(rows));
}

function cellRows({ map, turned }, x, y) {
  const cells = (map.decoded ??= decode(map.cells, Uint8Array)), [n, m] = map.shape;
  const middle = (axis, k, count) => axis.low + ((k + 0.5) / count) * (axis.high - axis.low);
  const [first, second] = turned ? [y, x] : [x, y];
  return Array.from(cells, (level, k) => {
    const [a, b] = [middle(first, Math.floor(k / m), n), middle(second, k % m, m)];
    const place = turned ? [b, a] : [a, b];
    return ["map", k, ...place, level < 255 ? (level / 254) * map.top : NaN];
  });
}

/** Save the frames of the shown path that are in the page. */
function savePdb() {
  const set = shownSet(), { name, start, n } = pathOf(set, state.path);
  const lines = [`REMARK   1 ${scene.name}: ${set.name}, ${name}`.slice(0, 80)];
  if (scene.box) lines.push(cellRecord());
  for (let k = 0; k < n; k++) lines.push(`MODEL     ${String(k + 1).padStart(4)}`, ...atomRecords(coordinates(set, start + k)), "ENDMDL");
  lines.push(...bondRecords(), "END");
  save(`${stem()}.pdb`, "chemical/x-pdb", lines.join("\n") + "\n");
}

function atomRecords(xyz) {
  const { name, element, residue, number, chain } = scene.atoms;
  return name.map((atom, i) => {
    const place = [0, 1, 2].map((axis) => (xyz[3 * i + axis] * ANGSTROM).toFixed(3).padStart(8)).join("");
    const called = atom.length < 4 && element[i].length < 2 ? ` ${atom}`.padEnd(4) : atom.slice(0, 4).padEnd(4);
    const where = `${residue[i].slice(0, 3).padStart(3)} ${String.fromCharCode(65 + (chain[i] % 26))}${String(number[i] % 10000).padStart(4)}`;
    return `ATOM  ${String((i + 1) % 100000).padStart(5)} ${called} ${where}    ${place}  1.00  0.00          ${element[i].padStart(2)}`;
  });
}

function cellRecord() {
  const length = (v) => Math.hypot(...v), dot = (v, w) => v.reduce((sum, x, k) => sum + x * w[k], 0);
  const [a, b, c] = scene.box, angle = (v, w) => (Math.acos(dot(v, w) / length(v) / length(w)) * 180) / Math.PI;
  const sizes = [a, b, c].map((v) => (length(v) * ANGSTROM).toFixed(3).padStart(9)).join("");
  const angles = [angle(b, c), angle(a, c), angle(a, b)].map((x) => x.toFixed(2).padStart(7)).join("");
  return `CRYST1${sizes}${angles} P 1           1`;
}

function bondRecords() {
  return scene.atoms.bonds.map(([a, b]) => `CONECT${String(a + 1).padStart(5)}${String(b + 1).padStart(5)}`);
}
