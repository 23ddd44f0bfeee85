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
  refused: "the judge rejected it",
};
const BRANCHES =
  "The best reward counts, and the winning branch is first. Choose another one to see its steps. " +
  "A branch that can no longer win is dropped, so only bounds of its reward may be known.";
const ENDED = {
  dropped: "Dropped because it could not win: ",
  no_structure: "Why there was no comparison: ",
};
const at = { run: 0, step: 0, completion: 0 };
const view = document.getElementById("view");

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

function verdictChip(verdict, ended) {
  const none = ended === "dropped" ? "– no verdict" : "– not asked";
  if (!verdict) return element("span", "chip open", none);
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

// Steps that the walk came to; of a branch that was dropped, those with a verdict.
function reachedSteps(row) {
  if (row.how !== "dropped") return row.scores.length;
  return row.verdicts.reduce((last, [step]) => Math.max(last, step), 0);
}

function stepCard(row, place) {
  const score = row.scores[place];
  const isReached = place < reachedSteps(row);
  const card = element("article", isReached ? "step" : "step unreached");
  const heading = element("h4", "", `Step ${place + 1}`);
  const lacks = ["teacher", "student"].find((who) => place >= row[who].steps.length);
  const why = lacks && mayHaveMore(row, lacks) ? "the GSRM was stopped earlier" : `the ${lacks} has no such step`;
  const unreached = lacks ? `not compared: ${why}` : "not compared";
  const open = isReached ? "no score: this branch was dropped" : unreached;
  heading.append(element("span", "score", score === undefined ? open : `score ${number(score)}`));
  card.append(heading);
  FIELDS.forEach(([name, title], position) => {
    const [teacher, student] = [row.teacher, row.student].map((one) => stepOf(one, place)[position]);
    const verdict = row.verdicts.find(([step, field]) => step === place + 1 && field === name);
    const head = element("h5", "", title);
    if (isReached) head.append(verdictChip(verdict, row.how));
    card.append(head, pair(teacher, student));
  });
  return card;
}

function callout(row) {
  const box = element("div", "callout");
  const line = element("p");
  const label = ENDED[row.how] || "Why the comparison ended: ";
  line.append(element("strong", "", label), row.explained + ".");
  box.append(line);
  if (row.wrong) box.append(element("p", "", `This line does not fit Algorithm 1: ${row.wrong}.`));
  return box;
}

function facts(entries) {
  const list = element("dl", "facts");
  for (const [name, value] of entries) {
    const item = element("div");
    item.append(element("dt", "", name), element("dd", "", value));
    list.append(item);
  }
  return list;
}

function completionFacts(row) {
  const teachers = row.others
    ? [["branch that won", `${row.number} of ${row.others.length + 1}`]]
    : comparisonFacts(row);
  const steps = String(row.student.steps.length);
  return facts([
    ["reward", number(row.reward)],
    ...teachers,
    ["steps of the student", (mayHaveMore(row, "student") ? "at least " : "") + steps],
    ["prompt", clipped(row.prompt, 80) || "none"],
  ]);
}

function comparisonFacts(row) {
  return [
    ["structure reward r", number(row.total)],
    ["matched depth", String(row.scores.filter((score) => score > 0).length)],
    ["steps of the teacher", String(row.teacher.steps.length)],
  ];
}

// Of a completion with several branches: the first is the one that won.
function branchOf(row, place) {
  if (place === 0) return row;
  const other = row.others[place - 1];
  return { ...row, ...other, total: other.scores.reduce((sum, score) => sum + score, 0) };
}

function earned(branch) {
  const [least, most] = [branch.least, branch.most].map(number);
  return {
    won: `won with ${least}`,
    compared: `earned ${least}`,
    dropped: `dropped: at most ${most}`,
    no_structure: "no structure",
  }[branch.how];
}

function branchFacts(branch) {
  const [least, most] = [branch.least, branch.most].map(number);
  if (branch.how === "no_structure") return facts([["reward with this branch", "none"]]);
  if (branch.how !== "dropped") {
    return facts([["reward with this branch", least], ...comparisonFacts(branch)]);
  }
  return facts([
    ["reward with this branch", `not known, between ${least} and ${most}`],
    ["steps of the teacher", String(branch.teacher.steps.length)],
  ]);
}

function branchChoice(row) {
  const list = element("ul", "branches");
  list.setAttribute("aria-labelledby", "branches-title");
  for (let place = 0; place <= row.others.length; place += 1) {
    const branch = branchOf(row, place);
    const choose = element("button");
    choose.type = "button";
    const name = `${place === 0 ? "★ " : ""}Branch ${branch.number}`;
    choose.append(element("strong", "", name), element("span", "", earned(branch)));
    choose.addEventListener("click", () => showBranch(row, place));
    const item = element("li");
    item.append(choose);
    list.append(item);
  }
  return list;
}

function showBranch(row, place) {
  const branch = branchOf(row, place);
  document.querySelectorAll(".branches button").forEach((button, position) => {
    button.setAttribute("aria-pressed", String(position === place));
  });
  const shown = document.getElementById("comparison");
  shown.replaceChildren(branchFacts(branch), callout(branch), ...comparison(branch));
  showPlace(`, branch ${branch.number} of ${row.others.length + 1}`);
}

function comparison(row) {
  const most = Math.max(row.teacher.steps.length, row.student.steps.length);
  const end = reachedSteps(row);
  const parts = [];
  for (let place = 0; place < most; place += 1) {
    if (place === end) parts.push(element("p", "end", endOf(row)));
    parts.push(stepCard(row, place));
  }
  if (most === end && row.beyond) parts.push(element("p", "end", endOf(row)));
  if (most) {
    const last = element("article", "step");
    const final = row.student.stopped ? undefined : row.student.final;
    last.append(element("h4", "", "Final answer"), pair(row.teacher.final, final));
    parts.push(last);
  }
  return parts;
}

function endOf(row) {
  if (row.beyond) return "The teacher’s steps end here, the student continues";
  return row.how === "dropped" ? "This branch was dropped here" : "The comparison ended here";
}

function show() {
  const row = data.alignment[at.run].steps[at.step].rows[at.completion];
  const pairs = document.getElementById("pairs");
  // the focused element may be removed: the keys still work
  if (pairs.contains(document.activeElement)) view.focus({ preventScroll: true });
  pairs.replaceChildren(completionFacts(row));
  if (!row.others) pairs.append(callout(row));
  if (row.problem) pairs.append(element("h4", "", "Problem"), passage(row.problem));
  const shown = element("div");
  shown.id = "comparison";
  if (row.others) {
    const title = element("h4", "", "Branches of the teacher");
    title.id = "branches-title";
    pairs.append(title, element("p", "note", BRANCHES), branchChoice(row), shown);
    showBranch(row, 0);
  } else {
    pairs.append(shown);
    shown.append(...comparison(row));
    showPlace("");
  }
  for (const name of ["run", "step", "completion"]) document.getElementById(name).value = at[name];
}

function showPlace(branch) {
  const { steps } = data.alignment[at.run];
  const step = steps[at.step];
  const some = step.rows.length < step.of ? `, drawn from ${step.of.toLocaleString("en")}` : "";
  document.getElementById("where").textContent =
    `Step ${step.label} (${at.step + 1} of ${steps.length}), ` +
    `completion ${at.completion + 1} of ${step.rows.length}${some}${branch}`;
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
  view.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const busy = event.target.tagName === "SELECT" || event.altKey || event.ctrlKey || event.metaKey;
    if (by === undefined || busy) return;
    event.preventDefault();
    move(by);
  });
  go({ run: 0 });
}

startAlignment();
