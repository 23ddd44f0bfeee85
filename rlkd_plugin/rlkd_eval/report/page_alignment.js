"use strict";
// The alignment view; page.js is before it.

const FIELDS = [
  ["meta_reasoning", "Meta-reasoning"],
  ["sub_problem", "Sub-problem"],
  ["answer", "Answer"],
];
const SOURCES = {
  rule: "by a text rule",
  logprob: "from log-probabilities",
  choice: "from a constrained choice",
  text: "from free text",
  refused: "the judge refused it",
};
const at = { run: 0, step: 0, completion: 0 };

function number(value) {
  return value === null ? "none" : String(Math.round(value * 1000) / 1000);
}

function clipped(text, most) {
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

function passage(text) {
  const box = element("div", "passage");
  const shown = element("p", "model", clipped(text, LONG));
  shown.dir = "auto";
  box.append(shown);
  if (text.length > LONG) {
    const all = element("button", "all", `Show all ${text.length.toLocaleString("en")} characters`);
    all.type = "button";
    all.setAttribute("aria-expanded", "false");
    all.addEventListener("click", () => {
      const open = all.getAttribute("aria-expanded") === "false";
      all.setAttribute("aria-expanded", String(open));
      shown.textContent = open ? text : clipped(text, LONG);
      all.textContent = open ? "Show less" : `Show all ${text.length.toLocaleString("en")} characters`;
    });
    box.append(all);
    if (printing) showForPrint(all);
  }
  return box;
}

function side(who, text) {
  const box = element("div", "side");
  box.append(element("span", "who", who), passage(text));
  return box;
}

function pair(teacher, student) {
  const box = element("div", "pair");
  if (teacher !== undefined) box.append(side("Teacher", teacher));
  if (student !== undefined) box.append(side("Student", student));
  return box;
}

function verdictChip(verdict) {
  if (!verdict) return element("span", "chip open", "– not asked");
  const [, , matched, probability, source] = verdict;
  const chip = element("span", matched ? "chip yes" : "chip no", matched ? "✓ match" : "✗ no match");
  const how = [SOURCES[source] || source];
  if (probability !== null) how.push(`p(yes) ${number(probability)}`);
  chip.append(element("small", "", how.join(", ")));
  return chip;
}

function stepOf(side, place) {
  if (place < side.steps.length) return side.steps[place];
  return place === side.steps.length ? side.unfinished : [];
}

function mayHaveMore(row, who) {
  return row[who].stopped && row.why !== "student_end";
}

function stepCard(row, place) {
  const score = row.scores[place];
  const card = element("article", score === undefined ? "step unreached" : "step");
  const heading = element("h4", "", `Step ${place + 1}`);
  const lacks = ["teacher", "student"].find((who) => place >= row[who].steps.length);
  const why = lacks && mayHaveMore(row, lacks) ? "the GSRM was stopped before" : `the ${lacks} has no such step`;
  const open = lacks ? `not compared: ${why}` : "not compared";
  heading.append(element("span", "score", score === undefined ? open : `score ${number(score)}`));
  card.append(heading);
  FIELDS.forEach(([name, title], position) => {
    const [teacher, student] = [row.teacher, row.student].map((one) => stepOf(one, place)[position]);
    const verdict = row.verdicts.find(([step, field]) => step === place + 1 && field === name);
    const head = element("h5", "", title);
    if (score !== undefined) head.append(verdictChip(verdict));
    card.append(head, pair(teacher, student));
  });
  return card;
}

function callout(row) {
  const box = element("div", "callout");
  const line = element("p");
  line.append(element("strong", "", "Why the comparison ended: "), row.explained + ".");
  box.append(line);
  if (row.wrong) box.append(element("p", "", `This line does not fit Algorithm 1: ${row.wrong}.`));
  return box;
}

function facts(row) {
  const list = element("dl", "facts");
  for (const [name, value] of [
    ["reward", number(row.reward)],
    ["structure reward r", number(row.total)],
    ["matched depth", String(row.scores.filter((score) => score > 0).length)],
    ["steps of the teacher", String(row.teacher.steps.length)],
    ["steps of the student", (mayHaveMore(row, "student") ? "at least " : "") + String(row.student.steps.length)],
    ["prompt", clipped(row.prompt, 80) || "none"],
  ]) {
    const item = element("div");
    item.append(element("dt", "", name), element("dd", "", value));
    list.append(item);
  }
  return list;
}

function show() {
  const steps = data.alignment[at.run].steps;
  const step = steps[at.step];
  const row = step.rows[at.completion];
  const pairs = document.getElementById("pairs");
  pairs.replaceChildren(facts(row), callout(row));
  if (row.problem) pairs.append(element("h4", "", "Problem"), passage(row.problem));
  const most = Math.max(row.teacher.steps.length, row.student.steps.length);
  for (let place = 0; place < most; place += 1) {
    if (place === row.scores.length) pairs.append(element("p", "end", "The comparison ended here"));
    pairs.append(stepCard(row, place));
  }
  if (most) {
    const last = element("article", "step");
    const final = row.student.stopped ? undefined : row.student.final;
    last.append(element("h4", "", "Final answer"), pair(row.teacher.final, final));
    pairs.append(last);
  }
  const some = step.rows.length < step.of ? `, drawn from ${step.of.toLocaleString("en")}` : "";
  document.getElementById("where").textContent =
    `Step ${step.label} (${at.step + 1} of ${steps.length}), ` +
    `completion ${at.completion + 1} of ${step.rows.length}${some}`;
  for (const name of ["run", "step", "completion"]) document.getElementById(name).value = at[name];
}

function fill(name, texts) {
  const options = texts.map((text, place) => {
    const option = element("option", "", text);
    option.value = place;
    return option;
  });
  document.getElementById(name).replaceChildren(...options);
}

function fillCompletions() {
  const { rows } = data.alignment[at.run].steps[at.step];
  fill("completion", rows.map((row, place) => `${place + 1}: reward ${number(row.reward)}`));
}

function go(change) {
  Object.assign(at, change);
  const { steps } = data.alignment[at.run];
  at.step = Math.min(at.step, steps.length - 1);
  if ("run" in change) fill("step", steps.map((step) => step.label));
  if ("run" in change || "step" in change) fillCompletions();
  show();
}

function moveStep(by, completion) {
  const { steps } = data.alignment[at.run];
  const step = at.step + by;
  if (step < 0 || step >= steps.length) return;
  go({ step, completion: Math.min(completion, steps[step].rows.length - 1) });
}

function move(by) {
  // past a step's last completion comes the next step's first; before the first, the last before
  const completion = at.completion + by;
  if (completion >= 0 && completion < data.alignment[at.run].steps[at.step].rows.length) {
    go({ completion });
  } else {
    moveStep(by, by < 0 ? Infinity : 0);
  }
}

function startAlignment() {
  fill("run", data.alignment.map((run) => run.name));
  document.getElementById("run-choice").hidden = data.alignment.length < 2;
  for (const [id, handler] of [
    ["back", () => move(-1)],
    ["on", () => move(1)],
    ["step-back", () => moveStep(-1, 0)],
    ["step-on", () => moveStep(1, 0)],
  ]) {
    document.getElementById(id).addEventListener("click", handler);
  }
  const changes = { run: { step: 0, completion: 0 }, step: { completion: 0 }, completion: {} };
  for (const [id, reset] of Object.entries(changes)) {
    const select = document.getElementById(id);
    select.addEventListener("change", () => go({ [id]: Number(select.value), ...reset }));
  }
  document.getElementById("view").addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const busy = event.target.tagName === "SELECT" || event.altKey || event.ctrlKey || event.metaKey;
    if (by === undefined || busy) return;
    event.preventDefault();
    move(by);
  });
  go({ run: 0 });
}

startAlignment();
