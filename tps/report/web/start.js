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
const finish = () => {
  if (scene.atoms) moleculeView(part("molecule"));
  window.tps.ready = performance.now(); // [ms] since the page was asked for
};
window.tps.usable = performance.now();
requestAnimationFrame(() => setTimeout(finish));
