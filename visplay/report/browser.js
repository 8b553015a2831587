"use strict";

// The browser of questions. What a model or a file name wrote becomes text (`textContent`), never markup.
// Questions are made into elements a page at a time; filters look at the data. The filters stand behind "#"
// in the address, so that a reload or a link keeps them.
const PAGE = 50;
const form = document.querySelector(".filter");
const data = JSON.parse(document.getElementById("rollouts").textContent);
const list = document.getElementById("questions");
const more = document.getElementById("more");
const controls = form ? [...form.querySelectorAll("[data-filter]")] : [];
let matching = [];
let shown = 0;
let only = "";  // the id of the one question that a link asks for

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) {
    element.textContent = text;
    element.dir = "auto";  // its own direction, and none for its neighbours
  }
  return element;
}

const percent = (share) => (100 * share).toFixed(1) + "\u00a0%";
const figure = (value) => value === null ? "\u2014" : String(Math.round(value * 1e4) / 1e4).replace("-", "\u2212");

function textOf(item) {
  if (item.searched === undefined) {
    item.searched = [
      item.question, item.failure, item.completion, item.silver, item.truth, data.pictures[item.picture].source,
      ...(item.ballots || []).map(([answer]) => answer), ...(item.attempts || []).map((attempt) => attempt.text),
    ].filter(Boolean).join("\n").toLowerCase();
  }
  return item.searched;
}

// An id that stays the same when the page is made again: a hash (FNV-1a) of what the question is.
let ids;
function idOf(item) {
  if (!ids) {
    ids = new Map();
    const met = new Map();
    for (const each of data.questions) {
      const text = JSON.stringify([data.pictures[each.picture].key, each.iteration, each.phase, each.step, each.question, each.completion]);
      let hash = 0x811c9dc5;
      for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
      const id = (hash >>> 0).toString(36);
      const count = (met.get(id) || 0) + 1;
      met.set(id, count);
      ids.set(each, count > 1 ? `${id}-${count}` : id);
    }
  }
  return ids.get(item);
}

// Entropy of the votes in bits.
function disagreement(item) {
  return item.ballots && -item.ballots.reduce((sum, [, share]) => sum + (share > 0 ? share * Math.log2(share) : 0), 0);
}

function order(items, by) {
  const sign = by.startsWith("-") ? -1 : 1;
  const name = by.replace("-", "");
  const value = (item) => name === "disagreement" ? disagreement(item) : item[name];
  const [known, unknown] = [items.filter((item) => value(item) !== undefined), items.filter((item) => value(item) === undefined)];
  return [...known.sort((a, b) => sign * (value(a) - value(b))), ...unknown];
}

function fits(item, name, wanted) {
  if (name === "sort") return true;
  if (name === "text") return textOf(item).includes(wanted.toLowerCase());
  if (name === "least") return item.confidence !== undefined && item.confidence >= Number(wanted) / 100 - 1e-9;
  if (name === "most") return item.confidence !== undefined && item.confidence <= Number(wanted) / 100 + 1e-9;
  return String(item[name]) === wanted;
}

function filter(atLeast) {
  const wanted = controls.map((control) => [control.dataset.filter, control.value.trim()]).filter(([, value]) => value);
  matching = data.questions.filter((item) => (!only || idOf(item) === only) && wanted.every(([name, value]) => fits(item, name, value)));
  const by = wanted.find(([name]) => name === "sort");
  if (by) matching = order(matching, by[1]);
  list.replaceChildren();
  shown = 0;
  showMore(Math.max(PAGE, atLeast || 0));
  document.getElementById("none").hidden = matching.length > 0;
}

function showMore(count) {
  const end = Math.min(matching.length, shown + count);
  for (; shown < end; shown++) {
    const item = matching[shown];
    const last = list.lastElementChild;
    const sample = last && last.dataset.picture === String(item.picture) ? last : list.appendChild(frameOf(item.picture));
    sample.lastElementChild.append(questionOf(item));
  }
  document.getElementById("count").textContent =
    `${matching.length} of ${data.questions.length} questions match, ${shown} of them are shown` + (only ? "; “Clear” shows all" : "");
  more.hidden = shown === matching.length;
  more.textContent = `Show ${Math.min(PAGE, matching.length - shown)} more`;
}

function frameOf(index) {
  const picture = data.pictures[index];
  const sample = make("article", "sample");
  sample.dataset.picture = index;
  const frame = sample.appendChild(make("div", "frame"));
  if (picture.data) {
    const button = frame.appendChild(make("button", "zoom"));
    button.type = "button";
    button.setAttribute("aria-label", `Enlarge picture ${picture.source || picture.key}`);
    const image = button.appendChild(make("img"));
    image.alt = `Picture ${picture.source || picture.key}`;
    image.width = 176;
    image.src = picture.data;
  } else {
    frame.append(make("div", "lost", picture.data === null ? "omitted to limit the page size" : "picture not available"));
  }
  const name = frame.appendChild(make("p", "file", picture.source || picture.key.slice(0, 12)));
  name.title = picture.key;
  sample.append(make("ul", "asked"));
  return sample;
}

const MET = { questioner: "asked in training", curation: "asked in curation", reasoner: "answered in training" };
const JUDGED = { true: ["tag good", "silver answer is true"], unanswerable: ["tag out", "cannot be answered"] };

// Why the Questioner got nothing for a question: what made the reward 0.
function whyZero(item) {
  const parts = item.parts || {};
  if (item.question === undefined) return "not a well-formed question";
  if (parts.validity === 0) return "rejected before the vote";
  if (item.confidence === 1) return "all votes agree";
  if (item.confidence === undefined || !item.confidence) return "no vote could be read";
  if (parts.uncertainty === 0) return "the votes agree too much or too little";
  return parts.redundancy ? "the penalty for similar questions outweighs the gain" : "the parts add up to nothing";
}

function questionOf(item) {
  const place = make("li", "question");
  place.append(make("p", "text", item.question || item.failure || "(no question could be parsed)"));
  const marks = place.appendChild(make("p", "marks"));
  const mark = (className, text) => marks.append(make("span", className, text));
  mark("tag", `iteration ${item.iteration}, ${MET[item.phase]}` + (item.step === undefined ? "" : `, step ${item.step}`));
  if (item.by_base) mark("tag", "asked by the base model");
  if (item.labelled) mark("tag", "labelled example");
  if (item.type) mark("tag", item.type);
  if (item.outcome) mark(item.outcome === "kept" ? "tag good" : "tag out", item.outcome === "kept" ? "kept" : "rejected: " + item.outcome);
  if (item.judged) mark(...(JUDGED[item.judged] || ["tag bad", `silver answer is false; true: ${item.truth}`]));
  if (item.phase === "questioner" && item.question === undefined && item.reward !== 0) mark("tag out", "not a well-formed question");
  if (item.reward === 0) mark("tag bad", `reward 0: ${whyZero(item)}`);
  const link = marks.appendChild(make("a", "tag", "link"));
  link.href = `#samples?question=${idOf(item)}`;
  link.setAttribute("aria-label", "Link to this question");
  if (item.ballots) place.append(ballotsOf(item));
  if (item.confidence !== undefined) place.append(make("p", "quiet", `confidence ${percent(item.confidence)}`));
  if (item.reward !== undefined) place.append(rewardOf(item));
  if (item.completion) place.append(folded("What the Questioner wrote", () => [make("pre", "", item.completion)]));
  if (item.attempts) {
    const paid = item.attempts.filter((attempt) => attempt.reward > 0).length;
    place.append(folded(`${item.attempts.length} attempts of the Reasoner in training, ${paid} rewarded`, () => item.attempts.flatMap(attemptOf)));
  }
  return place;
}

function ballotsOf(item) {
  const ballots = make("ul", "ballots");
  ballots.setAttribute("aria-label", "Votes" + (item.votes ? ` of ${item.votes} answers` : ""));
  for (const [answer, share, silver] of item.ballots) {
    const ballot = ballots.appendChild(make("li", silver ? "silver" : ""));
    ballot.style.setProperty("--share", `${(100 * share).toFixed(1)}%`);
    const said = ballot.appendChild(make("span", "", answer === null ? "(unparsed)" : answer));
    if (silver) said.append(" ", make("span", "quiet", "silver"));
    ballot.append(make("span", "number", item.votes ? `${Math.round(share * item.votes)}/${item.votes}` : percent(share)));
  }
  return ballots;
}

function rewardOf(item) {
  const reward = make("p", "reward");
  reward.append(make("strong", "", `reward ${figure(item.reward)}`));
  for (const [name, value] of Object.entries(item.parts || {})) {
    reward.append(" ", make("span", "", `${name} ${figure(value)}`));
  }
  return reward;
}

function attemptOf(attempt) {
  const marks = make("p", "marks");
  marks.append(make("span", "tag", (attempt.iteration === undefined ? "" : `iteration ${attempt.iteration}, `) + `step ${attempt.step}`));
  if (attempt.reward !== null) marks.append(make("span", attempt.reward > 0 ? "tag good" : "tag out", `reward ${figure(attempt.reward)}`));
  for (const [name, value] of Object.entries(attempt.parts || {})) marks.append(make("span", "tag out", `${name} ${figure(value)}`));
  return [marks, make("pre", "", attempt.text)];
}

// A part that is made when it is first opened.
function folded(title, inside) {
  const details = make("details");
  details.append(make("summary", "", title));
  details.addEventListener("toggle", () => {
    const made = inside();
    made.filter((element) => element.tagName === "PRE").forEach((element) => { element.tabIndex = 0; });
    details.append(...made);
  }, { once: true });
  return details;
}

// The address keeps the filters.
function remember() {
  const kept = new URLSearchParams(controls.map((control) => [control.dataset.filter, control.value.trim()]).filter(([, value]) => value));
  if (shown > PAGE) kept.set("shown", shown);
  if (only) kept.set("question", only);
  const words = kept.toString();
  if (words || location.hash.startsWith("#samples?")) history.replaceState(null, "", words ? "#samples?" + words : "#samples");
}

function recall() {
  const kept = new URLSearchParams(location.hash.startsWith("#samples?") ? location.hash.slice(9) : "");
  for (const control of controls) {
    const value = kept.get(control.dataset.filter) || "";
    control.value = value;
    if (control.value !== value) control.value = "";  // an answer that this page doesn't have
  }
  only = kept.get("question") || "";
  return Number(kept.get("shown")) || 0;
}

// The filtered questions as a file that the browser makes. A spreadsheet runs a cell that begins like a formula,
// and models write our texts, so such a text gets an apostrophe before it.
const cell = (value) => `"${(typeof value === "string" && /^\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n]/.test(value) ? "'" + value : String(value ?? "")).replaceAll('"', '""')}"`;

const COLUMNS = {
  id: (q) => q.id, iteration: (q) => q.iteration, asked_in: (q) => q.phase, step: (q) => q.step, picture: (q) => q.source,
  picture_key: (q) => q.key, type: (q) => q.type, question: (q) => q.question, silver_answer: (q) => q.silver, truth: (q) => q.truth,
  judged: (q) => q.judged, confidence: (q) => q.confidence, votes: (q) => q.votes, outcome: (q) => q.outcome, reward: (q) => q.reward,
  attempts: (q) => q.attempts?.length, rewarded_attempts: (q) => q.attempts?.filter((a) => a.reward > 0).length, completion: (q) => q.completion,
};

function fileOf(kind, items) {
  const named = items.map((item) => {
    const { picture, searched, ...rest } = item;
    return { id: idOf(item), ...rest, source: data.pictures[picture].source, key: data.pictures[picture].key };
  });
  if (kind === "json") return JSON.stringify(named, null, 1);
  return [Object.keys(COLUMNS), ...named.map((q) => Object.values(COLUMNS).map((column) => column(q)))]
    .map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

function save(kind) {
  const link = document.createElement("a");
  link.download = `questions.${kind}`;
  link.href = URL.createObjectURL(new Blob([(kind === "csv" ? "\ufeff" : "") + fileOf(kind, matching)], { type: kind === "csv" ? "text/csv" : "application/json" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

if (form) {
  form.hidden = false;
  form.querySelectorAll("[data-save]").forEach((button) => button.addEventListener("click", () => save(button.dataset.save)));
  form.addEventListener("input", () => { only = ""; filter(); remember(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { only = ""; filter(); remember(); }, 0));
  more.addEventListener("click", () => { showMore(PAGE); remember(); });
  const filtered = () => location.hash.startsWith("#samples?");
  const arrive = () => {
    if (only) list.querySelectorAll("details").forEach((part) => { part.open = true; });
    (only && list.firstElementChild || document.getElementById("samples")).scrollIntoView({ behavior: "instant" });
  };
  window.addEventListener("hashchange", () => { if (filtered()) { filter(recall()); arrive(); } });
  filter(recall());
  if (filtered() && performance.getEntriesByType("navigation")[0].type === "navigate") arrive();  // a reload keeps its place
}
