// Put the parts of the player in their places; the molecule last, since a browser may take a second to start WebGL.

const part = (name) => document.querySelector(`.player .${name}`);

choosersView(part("choices"));
mapView(part("map"));
transportView(part("transport"));
readoutView(part("readout"));
placesView(part("places"));
noteView(part("hint"));
tracesView(part("traces"));
listenToKeys();
window.tps.usable = performance.now(); // [ms] since the page was asked for
afterPaint(() => {
  if (scene.atoms) moleculeView(part("molecule")).then(() => { window.tps.ready = performance.now(); });
  else window.tps.ready = performance.now();
});

/** Call back once the page has been seen: WebGL may take a browser a second to start, in which it answers nothing. */
function afterPaint(act) {
  const watch = new PerformanceObserver(() => { watch.disconnect(); setTimeout(act); });
  watch.observe({ type: "paint", buffered: true });
}
