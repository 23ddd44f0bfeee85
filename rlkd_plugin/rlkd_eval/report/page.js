"use strict";
// Texts come from models: they reach the page through textContent alone.

const data = JSON.parse(document.getElementById("data").textContent);
const darkScheme = matchMedia("(prefers-color-scheme: dark)");
const LONG = 400; // characters of a text that is shown whole at once
const paper = matchMedia("print");
const drawnIn = new Map(); // chart -> the scheme that it was drawn in
let printing = false;

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function variable(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function scheme() {
  return darkScheme.matches && !printing ? "dark" : "light";
}

function coloured(trace) {
  const colour = data.colours[trace.meta.style][scheme() === "dark" ? 1 : 0];
  const copy = { ...trace };
  if (trace.line) copy.line = { ...trace.line, color: colour };
  for (const bars of ["error_x", "error_y"]) {
    if (trace[bars]) copy[bars] = { ...trace[bars], color: colour };
  }
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

// Draws before it returns; what it returns is fulfilled when plotly has done the rest.
function draw(key) {
  drawnIn.set(key, scheme());
  const figure = data.charts[key];
  const done = Plotly.react(`chart-${key}`, figure.data.map(coloured), themed(figure), {
    responsive: true,
    displaylogo: false,
    displayModeBar: true, // its PNG button is for the keyboard too
    showSendToCloud: false, // nothing of the page goes anywhere
    plotlyServerURL: "",
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    toImageButtonOptions: { format: "png", filename: key, scale: 2 },
  });
  const chart = document.getElementById(`chart-${key}`);
  makeScalable(chart);
  if (!chart.dataset.watched) {
    chart.dataset.watched = "yes";
    chart.on("plotly_afterplot", () => makeScalable(chart));
  }
  return done;
}

// A sheet is as wide as it is: there the style sheet scales a chart by these.
function makeScalable(chart) {
  const { width, height } = chart._fullLayout;
  for (const svg of chart.querySelectorAll(".main-svg")) {
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  }
  chart.style.setProperty("--shape", `${width} / ${height}`);
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

function undrawn() {
  return Object.keys(data.charts).filter((key) => drawnIn.get(key) !== scheme());
}

async function drawAll() {
  for (let [key] = undrawn(); key; [key] = undrawn()) {
    await draw(key);
    await new Promise((later) => setTimeout(later)); // the page stays usable meanwhile
  }
  document.body.dataset.drawn = "all";
}

function showForPrint(more) {
  more.click();
  more.classList.add("for-print");
}

// A browser prints what is there when this returns, so nothing here waits.
function beginPrint() {
  if (printing) return;
  printing = true;
  document.documentElement.classList.add("printing");
  document.querySelectorAll("button.all[aria-expanded=false]").forEach(showForPrint);
  undrawn().forEach(draw);
  document.body.dataset.drawn = "all";
}

function endPrint() {
  if (!printing) return;
  printing = false;
  document.documentElement.classList.remove("printing");
  for (const more of document.querySelectorAll("button.all.for-print")) {
    more.classList.remove("for-print");
    if (more.getAttribute("aria-expanded") === "true") more.click();
  }
  drawAll();
}

for (const button of document.querySelectorAll("button.png")) {
  button.addEventListener("click", () => savePng(button.dataset.chart));
}
darkScheme.addEventListener("change", drawAll);
addEventListener("beforeprint", beginPrint);
addEventListener("afterprint", endPrint);
// for what prints without these events, and for a view as print
paper.addEventListener("change", () => (paper.matches ? beginPrint() : endPrint()));

if (paper.matches) beginPrint();
drawAll();
