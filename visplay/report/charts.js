"use strict";

// Charts: plotly's specs, with the palette's names in place of colours, so that light and dark both fit.
// Each is drawn when it is about to be seen.
const figures = JSON.parse(document.getElementById("figures").textContent);
const places = [...document.querySelectorAll(".chart")];
const drawn = new Set();

// Plotly reads tags in labels; except in our own templates, a label is plain text.
function prepared(value, key, palette) {
  if (Array.isArray(value)) return value.map((item) => prepared(item, key, palette));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, prepared(item, name, palette)]));
  }
  if (typeof value !== "string" || key === "hovertemplate") return value;
  return key === "color" ? palette.getPropertyValue("--" + value).trim() : value.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

function draw(place) {
  const palette = getComputedStyle(document.documentElement);
  const color = (name) => palette.getPropertyValue("--" + name).trim();
  const axis = { gridcolor: color("line"), linecolor: color("line"), zerolinecolor: color("line"), automargin: true };
  const titled = (given) => ({ ...given, title: { ...given.title, font: { size: 12.5, color: color("quiet") } } });
  const spec = prepared(figures[place.dataset.figure], "", palette);
  const layout = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif", size: 12.5, color: color("ink") },
    hoverlabel: { bgcolor: color("panel"), bordercolor: color("line"), font: { color: color("ink") } },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, showlegend: true,
    margin: { l: 48, r: 12, t: 8, b: 44 }, dragmode: false, hovermode: "closest", height: place.clientHeight,
    ...spec.layout,
    xaxis: titled({ ...axis, ...spec.layout.xaxis }),
    yaxis: titled({ ...axis, ...spec.layout.yaxis }),
  };
  Plotly.react(place, spec.data, layout, { displayModeBar: false });
  if (!drawn.has(place)) fit.observe(place);
  drawn.add(place);
}

const fit = new ResizeObserver((entries) => entries.forEach((entry) => Plotly.Plots.resize(entry.target)));
const near = new IntersectionObserver((entries) => entries.forEach((entry) => {
  if (!entry.isIntersecting) return;
  near.unobserve(entry.target);
  draw(entry.target);
}), { rootMargin: "400px" });
places.forEach((place) => near.observe(place));
window.addEventListener("beforeprint", () => places.filter((place) => !drawn.has(place)).forEach(draw));
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach(draw));
