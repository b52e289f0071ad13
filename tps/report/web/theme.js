// Colours of canvases come from the style sheet, and follow the reader's scheme and the printer.

/** Return a colour of the style sheet. */
const paint = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Call back when colours change: another scheme, or paper. */
function whenColoursChange(redraw) {
  for (const query of ["(prefers-color-scheme: dark)", "print"]) matchMedia(query).addEventListener("change", redraw);
}

/** Return [red, green, blue] of a colour such as #1f4e79. */
const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

/** Return 255 colours that run through the ramp of the style sheet, as [red, green, blue]. */
function ramp() {
  const stops = [0, 1, 2, 3].map((k) => rgb(paint(`ramp-${k}`)));
  return Array.from({ length: 255 }, (_, level) => {
    const place = (level / 254) * 3, k = Math.min(2, Math.floor(place));
    return stops[k].map((low, c) => Math.round(low + (place - k) * (stops[k + 1][c] - low)));
  });
}
