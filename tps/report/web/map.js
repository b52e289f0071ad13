// The map: free energy over two axes, regions, curves, the paths of the set, the shown path and where it is.

const MARGIN = { left: 58, right: 14, top: 44, bottom: 46 };
const VEIL = "#cc79a7"; // marks and regions to avoid

/** Draw the map on a canvas and keep it in step with the state; a click shows a frame. */
function mapView(canvas) {
  const still = document.createElement("canvas"); // what only changes with the set and the axes
  let frame = null;

  function drawAll() {
    frame = frameOf(canvas);
    for (const one of [canvas, still]) { one.width = frame.width * frame.ratio; one.height = frame.height * frame.ratio; }
    drawStill(context(still, frame), frame);
    draw();
  }

  function draw() {
    const pen = context(canvas, frame);
    pen.clearRect(0, 0, frame.width, frame.height);
    pen.drawImage(still, 0, 0, frame.width, frame.height);
    drawShownPath(pen, frame);
    drawMarks(pen, frame);
    drawPlace(pen, frame);
  }

  window.tps.pixel = (x, y) => ({ x: frame.px(x), y: frame.py(y) }); // where a test clicks
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    const found = frameAt(frame, event.clientX - box.left, event.clientY - box.top);
    if (found) change({ ...found, playing: false });
  });
  whenChanged((changed) => {
    if (["set", "x", "y"].some((key) => changed.has(key))) drawAll();
    else if (changed.has("frame") || changed.has("path")) draw();
  });
  whenColoursChange(drawAll);
  new ResizeObserver(drawAll).observe(canvas.parentElement);
}

/** Return the geometry of the map: axes, size, and where values lie in pixels. */
function frameOf(canvas) {
  const { width, height } = canvas.parentElement.getBoundingClientRect();
  const [x, y] = [axisOf(state.x), axisOf(state.y)];
  const right = width - MARGIN.right, bottom = height - MARGIN.bottom;
  return {
    x, y, width, height, right, bottom, ratio: window.devicePixelRatio || 1,
    px: (value) => MARGIN.left + ((value - x.low) / (x.high - x.low)) * (right - MARGIN.left),
    py: (value) => bottom - ((value - y.low) / (y.high - y.low)) * (bottom - MARGIN.top),
  };
}

function context(canvas, frame) {
  const pen = canvas.getContext("2d");
  pen.setTransform(frame.ratio, 0, 0, frame.ratio, 0, 0);
  return pen;
}

function inside(pen, frame, paintIt) {
  pen.save();
  pen.beginPath();
  pen.rect(MARGIN.left, MARGIN.top, frame.right - MARGIN.left, frame.bottom - MARGIN.top);
  pen.clip();
  paintIt();
  pen.restore();
}

function drawStill(pen, frame) {
  inside(pen, frame, () => {
    pen.fillStyle = paint(mapOver(frame.x.key, frame.y.key) ? "no-data" : "paper");
    pen.fillRect(0, 0, frame.width, frame.height);
    drawEnergy(pen, frame);
    for (const pieces of scene.avoided) drawRegion(pen, frame, pieces, null);
    for (const [name, pieces] of Object.entries(scene.states)) drawRegion(pen, frame, pieces, name);
    const set = shownSet();
    pen.lineWidth = 0.6;
    pen.strokeStyle = `rgba(${paint("others")}, ${Math.min(0.5, Math.max(0.05, 4 / set.paths.length))})`;
    for (let path = 0; path < set.paths.length; path++) {
      if (set.paths[path][1] > 1 && set.joined) drawLine(pen, frame, along(set, path, frame.x.key), along(set, path, frame.y.key));
    }
    for (const line of scene.lines) drawCurve(pen, frame, line);
  });
  drawAxes(pen, frame);
  drawKey(pen, frame);
}

/** Say above the map what its colours mean. */
function drawKey(pen, frame) {
  const found = mapOver(frame.x.key, frame.y.key), wide = 110, top = 12, right = frame.right;
  pen.font = '12px system-ui, "DejaVu Sans", sans-serif';
  pen.fillStyle = paint("soft");
  if (!found) {
    pen.fillText("no free energy over these two axes", MARGIN.left, top + 12);
    return;
  }
  const left = right - wide - 46, colours = ramp();
  for (let k = 0; k < wide; k++) {
    pen.fillStyle = `rgb(${colours[Math.round((k / (wide - 1)) * 254)].join(",")})`;
    pen.fillRect(left + k, top + 2, 1.5, 12);
  }
  pen.fillStyle = paint("soft");
  pen.strokeStyle = paint("rule");
  pen.strokeRect(left, top + 2, wide, 12);
  pen.textAlign = "right";
  pen.fillText(`${found.map.label}  0`, left - 6, top + 12);
  pen.textAlign = "left";
  pen.fillText(`≥ ${found.map.top.toPrecision(2)}`, right - 40, top + 12);
}

/** Return the map over two axes, either way round, as {map, turned}. */
function mapOver(x, y) {
  for (const map of scene.maps) {
    if (map.x === x && map.y === y) return { map, turned: false };
    if (map.x === y && map.y === x) return { map, turned: true };
  }
  return null;
}

function drawEnergy(pen, frame) {
  const found = mapOver(frame.x.key, frame.y.key);
  if (!found) return;
  const cells = (found.map.decoded ??= decode(found.map.cells, Uint8Array)), colours = ramp();
  const [n, m] = found.map.shape, [columns, rows] = found.turned ? [m, n] : [n, m];
  const picture = document.createElement("canvas");
  [picture.width, picture.height] = [columns, rows];
  const pixels = new ImageData(columns, rows);
  for (let i = 0; i < columns; i++) for (let j = 0; j < rows; j++) {
    const level = found.turned ? cells[j * m + i] : cells[i * m + j];
    if (level < 255) pixels.data.set([...colours[level], 255], 4 * ((rows - 1 - j) * columns + i));
  }
  picture.getContext("2d").putImageData(pixels, 0, 0);
  pen.drawImage(picture, MARGIN.left, MARGIN.top, frame.right - MARGIN.left, frame.bottom - MARGIN.top);
}

/** Draw a region as boxes; a state with its name, one to avoid hatched. An axis it does not limit is covered. */
function drawRegion(pen, frame, pieces, name) {
  const [x, y] = [frame.x, frame.y].map((axis) => pieces[axis.key]);
  if (!x && !y) return;
  const over = (axis, limits) => limits ?? [[axis.low, axis.high]];
  const boxes = over(frame.x, x).flatMap(([x0, x1]) => over(frame.y, y).map(([y0, y1]) => {
    const left = frame.px(x0), top = frame.py(y1);
    return { left, top, wide: frame.px(x1) - left, high: frame.py(y0) - top };
  }));
  pen.lineWidth = 1.3;
  pen.strokeStyle = name ? paint("ink") : VEIL;
  pen.fillStyle = `${VEIL}55`;
  for (const { left, top, wide, high } of boxes) {
    if (!name) pen.fillRect(left, top, wide, high);
    pen.strokeRect(left, top, wide, high);
  }
  const largest = boxes.reduce((a, b) => (b.wide * b.high > a.wide * a.high ? b : a));
  write(pen, name ?? "avoid", Math.max(largest.left, MARGIN.left) + 5, Math.max(largest.top, MARGIN.top) + 15, { bold: true });
}

function write(pen, text, x, y, { bold = false, color = paint("ink") } = {}) {
  pen.font = `${bold ? "bold " : ""}12px system-ui, "DejaVu Sans", sans-serif`;
  pen.lineWidth = 3;
  pen.strokeStyle = paint("halo");
  pen.strokeText(text, x, y);
  pen.fillStyle = color;
  pen.fillText(text, x, y);
}

/** Draw points in order; where an angle goes through its seam the line leaves on one side and comes in on the other. */
function drawLine(pen, frame, xs, ys) {
  pen.beginPath();
  for (let k = 1; k < xs.length; k++) {
    const dx = difference(frame.x, xs[k - 1], xs[k]), dy = difference(frame.y, ys[k - 1], ys[k]);
    const goesRound = Math.abs(dx - xs[k] + xs[k - 1]) + Math.abs(dy - ys[k] + ys[k - 1]) > 1e-3;
    pen.moveTo(frame.px(xs[k - 1]), frame.py(ys[k - 1]));
    pen.lineTo(frame.px(xs[k - 1] + dx), frame.py(ys[k - 1] + dy));
    if (!goesRound) continue;
    pen.moveTo(frame.px(xs[k] - dx), frame.py(ys[k] - dy));
    pen.lineTo(frame.px(xs[k]), frame.py(ys[k]));
  }
  pen.stroke();
}

function drawCurve(pen, frame, line) {
  const xs = column(line.table, frame.x.key), ys = column(line.table, frame.y.key);
  pen.setLineDash(line.kind === "channel" ? [6, 3] : []);
  pen.strokeStyle = paint("halo");
  pen.lineWidth = 3.4;
  drawLine(pen, frame, xs, ys);
  pen.strokeStyle = line.color;
  pen.lineWidth = 1.9;
  drawLine(pen, frame, xs, ys);
  pen.setLineDash([]);
}

function drawShownPath(pen, frame) {
  const set = shownSet(), xs = along(set, state.path, frame.x.key), ys = along(set, state.path, frame.y.key);
  if (!set.joined) return;
  inside(pen, frame, () => {
    pen.strokeStyle = paint("path");
    pen.lineWidth = 1.5;
    drawLine(pen, frame, xs, ys);
    pen.fillStyle = paint("path");
    for (let k = 0; k < xs.length; k++) pen.fillRect(frame.px(xs[k]) - 1.2, frame.py(ys[k]) - 1.2, 2.4, 2.4);
  });
}

/** Return the place of a frame of a set on the map [pixels]. */
function pixelOf(frame, set, row) {
  return [frame.px(column(set.table, frame.x.key)[row]), frame.py(column(set.table, frame.y.key)[row])];
}

function drawMarks(pen, frame) {
  for (const mark of scene.marks) {
    const [x, y] = pixelOf(frame, scene.sets[mark.set], mark.frame);
    pen.beginPath();
    for (let k = 0; k < 4; k++) pen.lineTo(x + 6.5 * Math.cos((k * Math.PI) / 2), y + 6.5 * Math.sin((k * Math.PI) / 2));
    pen.closePath();
    pen.fillStyle = VEIL;
    pen.fill();
    pen.lineWidth = 1.2;
    pen.strokeStyle = paint("halo");
    pen.stroke();
  }
}

function drawPlace(pen, frame) {
  const [x, y] = pixelOf(frame, shownSet(), shownRow());
  for (const [radius, width, color] of [[8, 5, paint("halo")], [8, 2.6, paint("accent")]]) {
    pen.beginPath();
    pen.arc(x, y, radius, 0, 2 * Math.PI);
    pen.lineWidth = width;
    pen.strokeStyle = color;
    pen.stroke();
  }
}

/** Return whole numbers that divide an axis, about five of them. */
function ticks(axis) {
  const rough = (axis.high - axis.low) / 6, power = 10 ** Math.floor(Math.log10(rough));
  const step = axis.periodic ? 60 : power * [1, 2, 5, 10].find((k) => k * power >= rough);
  const found = [];
  for (let k = Math.ceil(axis.low / step - 1e-9); k * step <= axis.high + 1e-9 * step; k++) found.push(k * step);
  return { values: found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

function drawAxes(pen, frame) {
  pen.strokeStyle = pen.fillStyle = paint("soft");
  pen.lineWidth = 1;
  pen.strokeRect(MARGIN.left, MARGIN.top, frame.right - MARGIN.left, frame.bottom - MARGIN.top);
  pen.font = '12px system-ui, "DejaVu Sans", sans-serif';
  const x = ticks(frame.x), y = ticks(frame.y);
  pen.textAlign = "center";
  for (const value of x.values) {
    pen.fillRect(frame.px(value), frame.bottom, 1, 5);
    pen.fillText(value.toFixed(x.digits), frame.px(value), frame.bottom + 18);
  }
  pen.fillText(frame.x.label, (MARGIN.left + frame.right) / 2, frame.bottom + 36);
  pen.textAlign = "right";
  for (const value of y.values) {
    pen.fillRect(MARGIN.left - 5, frame.py(value), 5, 1);
    pen.fillText(value.toFixed(y.digits), MARGIN.left - 8, frame.py(value) + 4);
  }
  pen.save();
  pen.translate(15, (MARGIN.top + frame.bottom) / 2);
  pen.rotate(-Math.PI / 2);
  pen.textAlign = "center";
  pen.fillText(frame.y.label, 0, 0);
  pen.restore();
  pen.textAlign = "left";
}
