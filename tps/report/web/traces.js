// Plots over time, by uPlot: each in step with the state; a click shows the frame.

/** Fill an element with a plot for each trace that the shown set has numbers for. */
function tracesView(element) {
  let plots = [];

  function build() {
    for (const plot of plots) plot.destroy();
    const set = shownSet();
    const traces = scene.traces.filter((trace) => trace.column in set.table.columns);
    element.replaceChildren();
    plots = traces.map((trace) => {
      const block = document.createElement("div"), head = document.createElement("header");
      block.className = "trace";
      head.append(label("span", trace.label), button("CSV", () => saveTrace(trace), `Save ${trace.label} as CSV`));
      block.append(head);
      element.append(block);
      return plotOf(trace, set, block);
    });
  }

  function load() {
    for (const plot of plots) plot.setData(plot.data_of());
  }

  whenChanged((changed) => {
    if (changed.has("set")) build();
    else if (changed.has("path")) load();
    else if (changed.has("frame")) for (const plot of plots) plot.redraw(false);
  });
  whenColoursChange(build);
  new ResizeObserver(() => { for (const plot of plots) plot.setSize(sizeIn(element)); }).observe(element);
  build();
}

const sizeIn = (element) => ({ width: element.clientWidth, height: 160 });
const known = (values) => Array.from(values, (value) => (Number.isFinite(value) ? value : null));

function plotOf(trace, set, block) {
  const withCommittor = trace.column === "progress" && "committor" in set.table.columns;
  const data = () => [trace.column, ...(withCommittor ? ["committor"] : [])].reduce(
    (all, key) => [...all, known(along(set, state.path, key))], [Array.from(along(set, state.path, "time"))]);
  const axis = { stroke: paint("soft"), grid: { stroke: paint("rule"), width: 1 }, ticks: { stroke: paint("rule") } };
  const points = { show: true, size: 9, fill: VEIL, stroke: paint("halo") };
  const options = {
    ...sizeIn(block),
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false } },
    scales: { x: { time: false }, ...(trace.column === "progress" ? { y: { range: [-0.03, 1.03] } } : {}) },
    axes: [{ ...axis, label: set.time, labelSize: 20, size: 34 }, { ...axis, size: 76, space: 26 }],
    series: [
      {},
      { stroke: paint("second"), width: 1.4, points: { show: !set.joined, size: 7 }, paths: set.joined ? undefined : () => null },
      ...(withCommittor ? [{ stroke: VEIL, paths: () => null, points }] : []),
    ],
    hooks: { draw: [(plot) => drawNow(plot)] },
  };
  const plot = new uPlot(options, data(), block);
  plot.data_of = data;
  plot.over.addEventListener("click", () => {
    if (plot.cursor.idx !== null) change({ frame: plot.cursor.idx, playing: false });
  });
  return plot;
}

/** Draw where the shown frame is. */
function drawNow(plot) {
  const [time, values] = plot.data, x = plot.valToPos(time[state.frame], "x", true), pen = plot.ctx;
  const { top, height } = plot.bbox, ratio = window.devicePixelRatio || 1;
  pen.save();
  pen.strokeStyle = pen.fillStyle = paint("accent");
  pen.lineWidth = 1.5 * ratio;
  pen.beginPath();
  pen.moveTo(x, top);
  pen.lineTo(x, top + height);
  pen.stroke();
  if (values[state.frame] !== null) {
    pen.beginPath();
    pen.arc(x, plot.valToPos(values[state.frame], "y", true), 4.5 * ratio, 0, 2 * Math.PI);
    pen.fill();
  }
  pen.restore();
}
