"use strict";
// Texts come from models: they reach the page through textContent alone.

const data = JSON.parse(document.getElementById("data").textContent);
const darkScheme = matchMedia("(prefers-color-scheme: dark)");
const LONG = 400; // characters of a text that is shown whole at once

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function variable(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function coloured(trace) {
  const colour = data.colours[trace.meta.style][darkScheme.matches ? 1 : 0];
  const copy = { ...trace };
  if (trace.line) copy.line = { ...trace.line, color: colour };
  if (trace.error_y) copy.error_y = { ...trace.error_y, color: colour };
  if (trace.marker) {
    copy.marker = { ...trace.marker, color: colour };
    if (trace.marker.pattern) {
      copy.marker.pattern = { ...trace.marker.pattern, fgcolor: variable("--card") };
      copy.marker.line = { color: variable("--card"), width: 1 };
    }
  }
  return copy;
}

function themed(figure) {
  const axis = { gridcolor: variable("--line"), linecolor: variable("--line"), fixedrange: false };
  return {
    ...figure.layout,
    font: { family: "system-ui, sans-serif", size: 13, color: variable("--ink") },
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom", // a finger scrolls the page
    paper_bgcolor: variable("--card"),
    plot_bgcolor: variable("--card"),
    modebar: {
      bgcolor: "transparent", color: variable("--quiet"), activecolor: variable("--link"),
    },
    hoverlabel: { bgcolor: variable("--page"), font: { color: variable("--ink") } },
    xaxis: { ...figure.layout.xaxis, ...axis },
    yaxis: { ...figure.layout.yaxis, ...axis },
  };
}

function draw(key) {
  const figure = data.charts[key];
  return Plotly.react(`chart-${key}`, figure.data.map(coloured), themed(figure), {
    responsive: true,
    displaylogo: false,
    displayModeBar: true, // its PNG button is for the keyboard too
    showSendToCloud: false, // nothing of the page goes anywhere
    plotlyServerURL: "",
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    toImageButtonOptions: { format: "png", filename: key, scale: 2 },
  });
}

function pngOf(key) {
  const figure = data.charts[key];
  const drawn = document.getElementById(`chart-${key}`);
  const layout = { ...themed(figure), title: { text: escaped(figure.title), x: 0.02, y: 0.97 } };
  layout.margin = { ...layout.margin, t: 64 };
  layout.showlegend = true;
  const picture = { data: drawn.data, layout, config: {} };
  const size = { format: "png", width: 1000, height: 560, scale: 2 };
  return Plotly.toImage(picture, size);
}

async function savePng(key) {
  const link = element("a");
  link.href = await pngOf(key);
  link.download = `${key}.png`;
  link.click();
  document.getElementById("saved").textContent = `Saved ${key}.png`;
}

function escaped(text) {
  // plotly renders some HTML in titles
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

async function drawAll() {
  for (const key of Object.keys(data.charts)) {
    await draw(key);
    await new Promise((later) => setTimeout(later)); // the page stays usable meanwhile
  }
  document.body.dataset.drawn = "all";
}

for (const button of document.querySelectorAll("button.png")) {
  button.addEventListener("click", () => savePng(button.dataset.chart));
}
darkScheme.addEventListener("change", drawAll);

drawAll();
