// The molecule, by 3Dmol.js: one model with the frames of the shown path, and the cell round it.

const ANGSTROM = 10; // in a nm

/** Show the molecule in an element and keep it in step with the state. */
function moleculeView(element) {
  if (!hasWebGL()) {
    element.textContent = "This browser has no WebGL here, so the molecule cannot be drawn; map and plots work without it.";
    element.classList.add("missing");
    return Promise.resolve();
  }
  const viewer = $3Dmol.createViewer(element, { backgroundColor: paint("panel"), antialias: true });
  const turns = { model: null };
  window.tps.viewer = viewer; // its number of frames is what tests ask for

  /** Take the frames of the shown path; the view stays as the reader has turned it. */
  function load() {
    const set = shownSet(), { start, n } = pathOf(set, state.path);
    const frames = Array.from({ length: n }, (_, k) => triples(coordinates(set, start + k)));
    const first = turns.model === null;
    if (!first) viewer.removeModel(turns.model);
    turns.model = viewer.addModel();
    turns.model.addAtoms(atomSpecs(frames[0]));
    turns.model.setCoordinates(frames, "array");
    turns.model.setStyle({}, styleOf(scene.atoms));
    if (first) {
      if (scene.box) drawCell(viewer);
      viewer.zoomTo(scene.box ? {} : { model: turns.model });
    }
    return show();
  }

  function show() {
    return viewer.setFrame(state.frame).then(() => viewer.render());
  }

  whenChanged((changed) => {
    if (changed.has("set") || changed.has("path")) load();
    else if (changed.has("frame")) show();
  });
  whenColoursChange(() => { viewer.setBackgroundColor(paint("panel")); viewer.render(); });
  new ResizeObserver(() => { viewer.resize(); viewer.render(); }).observe(element);
  return load();
}

function hasWebGL() {
  const canvas = document.createElement("canvas");
  return Boolean(canvas.getContext("webgl2") || canvas.getContext("webgl"));
}

/** Return [x, y, z] of each atom [Å]. */
function triples(flat) {
  return Array.from({ length: flat.length / 3 }, (_, i) => [0, 1, 2].map((axis) => flat[3 * i + axis] * ANGSTROM));
}

/** Return the atoms as 3Dmol takes them. */
function atomSpecs(places) {
  const { name, element, residue, number, chain, bonds } = scene.atoms;
  const atoms = places.map(([x, y, z], i) => ({
    serial: i, index: i, atom: name[i], elem: element[i] || "X", resn: residue[i], resi: number[i],
    chain: String.fromCharCode(65 + (chain[i] % 26)), hetflag: false, x, y, z, bonds: [], bondOrder: [],
  }));
  for (const [a, b] of bonds) for (const [i, j] of [[a, b], [b, a]]) {
    atoms[i].bonds.push(j);
    atoms[i].bondOrder.push(1);
  }
  return atoms;
}

/** Return sticks and balls, thinner where there are many atoms. */
function styleOf(atoms) {
  const many = atoms.name.length > 150;
  return { stick: { radius: many ? 0.1 : 0.14 }, sphere: { scale: many ? 0.16 : 0.24 } };
}

/** Draw the edges of the unit cell. */
function drawCell(viewer) {
  const [a, b, c] = scene.box.map((vector) => vector.map((x) => x * ANGSTROM));
  const corner = (i, j, k) => { const [x, y, z] = [0, 1, 2].map((d) => i * a[d] + j * b[d] + k * c[d]); return { x, y, z }; };
  const color = paint("soft");
  for (const [p, q] of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
    viewer.addLine({ start: corner(0, p, q), end: corner(1, p, q), color });
    viewer.addLine({ start: corner(p, 0, q), end: corner(p, 1, q), color });
    viewer.addLine({ start: corner(p, q, 0), end: corner(p, q, 1), color });
  }
}
