// Which frame a place on the map means.

const REACH = { mark: 10, path: 14 }; // pixels

/** Return {set, path, frame} of what lies at a place [pixels]: a mark, the shown path, or the set's nearest frame. */
function frameAt(frame, x, y) {
  const apart = ([px, py]) => Math.hypot(px - x, py - y);
  for (const mark of scene.marks) {
    if (apart(pixelOf(frame, scene.sets[mark.set], mark.frame)) < REACH.mark) return markPlace(mark);
  }
  const set = shownSet(), { start, n } = pathOf(set, state.path);
  const here = nearest(set, start, start + n, apart, frame);
  if (here.apart < REACH.path) return placeOf(set, here.row);
  return placeOf(set, nearest(set, 0, set.table.n, apart, frame).row);
}

function nearest(set, start, end, apart, frame) {
  let best = { row: start, apart: Infinity };
  for (let row = start; row < end; row++) {
    const found = apart(pixelOf(frame, set, row));
    if (found < best.apart) best = { row, apart: found };
  }
  return best;
}

const markPlace = (mark) => ({ set: mark.set, path: 0, frame: mark.frame });

/** Return {path, frame} of the frame of the set that is nearest to a point of a line, all features counted alike. */
function nearestToLine(line, point) {
  const set = shownSet(), axes = scene.axes.filter((axis) => axis.key !== "progress");
  const apart = (row) => axes.reduce((sum, axis) => {
    const step = difference(axis, column(line.table, axis.key)[point], column(set.table, axis.key)[row]);
    return sum + (step / (axis.high - axis.low)) ** 2;
  }, 0);
  let best = 0;
  for (let row = 1, least = apart(0); row < set.table.n; row++) {
    const found = apart(row);
    if (found < least) [best, least] = [row, found];
  }
  return placeOf(set, best);
}
