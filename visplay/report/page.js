"use strict";

// Charts: plotly's specs, with the palette's names in place of colours, so that light and dark both fit.
const figures = JSON.parse(document.getElementById("figures").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function inPalette(value, palette) {
  if (Array.isArray(value)) return value.map((item) => inPalette(item, palette));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, item]) =>
      [key, key === "color" && typeof item === "string" ? palette.getPropertyValue("--" + item).trim() : inPalette(item, palette)]));
  }
  return value;
}

function drawCharts() {
  const palette = getComputedStyle(document.documentElement);
  const color = (name) => palette.getPropertyValue("--" + name).trim();
  const axis = { gridcolor: color("line"), linecolor: color("line"), zerolinecolor: color("line"), automargin: true };
  const titled = (given) => ({ ...given, title: { ...given.title, font: { size: 12.5, color: color("quiet") } } });
  for (const place of document.querySelectorAll(".chart")) {
    const spec = inPalette(figures[place.dataset.figure], palette);
    const layout = {
      ...spec.layout,
      xaxis: titled({ ...axis, ...spec.layout.xaxis }),
      yaxis: titled({ ...axis, ...spec.layout.yaxis }),
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif", size: 12.5, color: color("ink") },
      hoverlabel: { bgcolor: color("panel"), bordercolor: color("line"), font: { color: color("ink") } },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, showlegend: true,
      margin: { l: 48, r: 12, t: 8, b: 44 }, dragmode: false, hovermode: "closest", height: 300,
    };
    Plotly.react(place, spec.data, layout, { displayModeBar: false });
  }
}
drawCharts();
const fit = new ResizeObserver((entries) => entries.forEach((entry) => Plotly.Plots.resize(entry.target)));
document.querySelectorAll(".chart").forEach((place) => fit.observe(place));
dark.addEventListener("change", drawCharts);

// The browser of questions.
const form = document.querySelector(".filter");
if (form) {
  const controls = [...form.querySelectorAll("[data-filter]")];
  const samples = [...document.querySelectorAll(".sample")].map((element) => ({
    element,
    questions: [...element.querySelectorAll(".question")].map((question) => ({
      element: question,
      text: (question.textContent + " " + element.dataset.source).toLowerCase(),
    })),
  }));
  const total = samples.reduce((sum, sample) => sum + sample.questions.length, 0);

  const filter = () => {
    const wanted = controls.filter((control) => control.value.trim() !== "");
    let seen = 0;
    for (const sample of samples) {
      let any = false;
      for (const question of sample.questions) {
        const fits = wanted.every((control) => control.dataset.filter === "text"
          ? question.text.includes(control.value.trim().toLowerCase())
          : question.element.dataset[control.dataset.filter] === control.value);
        question.element.hidden = !fits;
        any = any || fits;
        seen += fits ? 1 : 0;
      }
      sample.element.hidden = !any;
    }
    document.getElementById("count").textContent = `${seen} of the ${total} questions shown here`;
    document.getElementById("none").hidden = seen > 0;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter, 0));
  filter();
}
