// The report's two conveniences: reading a chart's values with the pointer or the arrow keys, and the browser of episodes.
// Texts of models are only ever put into the page as text nodes, never as markup.
"use strict";

const hidden = new Set();  // conditions that a page of several has switched off

function readout(figure) {
  const chart = JSON.parse(figure.dataset.chart);
  const svg = figure.querySelector("svg"), cursor = figure.querySelector(".cursor"), out = figure.querySelector("output");
  let at = chart.x.length - 1;
  const number = (v) => v.toLocaleString("en", { maximumSignificantDigits: 4 });
  const show = (i) => {
    at = Math.max(0, Math.min(chart.x.length - 1, i));
    if (at < 0) return;
    cursor.setAttribute("x1", chart.px[at]);
    cursor.setAttribute("x2", chart.px[at]);
    cursor.setAttribute("visibility", "visible");
    const shown = Object.entries(chart.series).filter(([name]) => !chart.places || !hidden.has(chart.places[name]));
    const said = shown.map(([name, ys]) => `${name} ${ys[at] === null ? "–" : number(ys[at]) + chart.unit}`);
    out.textContent = `${chart.label} ${chart.x[at].toLocaleString("en")}: ${said.join(" · ")}`;
  };
  const hide = () => { cursor.setAttribute("visibility", "hidden"); out.textContent = ""; };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
    let best = 0;
    chart.px.forEach((p, i) => { if (Math.abs(p - x) < Math.abs(chart.px[best] - x)) best = i; });
    show(best);
  });
  svg.addEventListener("pointerleave", hide);
  figure.addEventListener("blur", hide);
  figure.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    show(Number.isFinite(step) ? at + step : step < 0 ? 0 : chart.x.length - 1);
  });
}
document.querySelectorAll("figure[data-chart]").forEach(readout);

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function attempt(i, text, answer, right, why, stop, tokens) {
  return element("section", { className: "attempt" },
    element("h4", {}, `Attempt ${i + 1}`,
      element("span", { className: `verdict ${right ? "right" : "wrong"}` }, right ? "✓ right" : "✗ wrong")),
    element("pre", {}, text || "(empty)"),
    element("footer", {},
      `answer: ${answer === null ? "none found" : answer}${!right && why && why !== "wrong" ? ` · ${why}` : ""} · ${tokens} tokens${stop === "length" ? " · cut at the length limit" : ""}`));
}

function card(data, episode) {
  const problem = data.problems[episode.problem];
  const facts = [
    element("b", {}, episode.kind),
    `${episode.phase} model, ${episode.decoding}${episode.decoding === "sampled" ? ` ${episode.sample + 1}` : ""}`,
    problem.subject, problem.level ? `level ${problem.level}` : "", `problem ${problem.id}`,
  ].filter(Boolean).map((fact) => element("span", {}, fact));
  const attempts = episode.attempts.map((given, i) => attempt(i, ...given));
  return element("article", {},
    element("header", {}, ...facts),
    element("p", { className: "ask" }, problem.question),
    element("p", { className: "soft" }, `Expected: ${problem.gold}`),
    element("div", { className: "attempts" }, ...attempts));
}

function browser() {
  const source = document.getElementById("episodes");
  if (!source) return;
  const data = JSON.parse(source.textContent), form = document.querySelector("form.filter");
  const list = document.getElementById("cards"), count = document.getElementById("count");
  const back = document.getElementById("back"), next = document.getElementById("next");
  const size = 10;
  let page = 0, found = [];
  // What search looks through is put together only once somebody searches.
  const text = (episode) => episode.text ??= [data.problems[episode.problem].question, data.problems[episode.problem].id,
    data.problems[episode.problem].gold, ...episode.attempts.map((a) => a[0])].join("\n").toLowerCase();
  const draw = () => {
    const pages = Math.max(1, Math.ceil(found.length / size));
    page = Math.max(0, Math.min(pages - 1, page));
    list.replaceChildren(...found.slice(page * size, page * size + size).map((episode) => card(data, episode)));
    count.textContent = found.length ? `page ${page + 1} of ${pages} · ${found.length.toLocaleString("en")} of ${data.episodes.length.toLocaleString("en")} episodes`
      : "no episode matches";
    back.disabled = page === 0;
    next.disabled = page === pages - 1;
  };
  const filter = () => {
    const wanted = Object.fromEntries(new FormData(form)), search = (wanted.search || "").trim().toLowerCase();
    found = data.episodes.filter((episode) =>
      (!wanted.kind || episode.kind === wanted.kind) && (!wanted.phase || episode.phase === wanted.phase) &&
      (!wanted.decoding || episode.decoding === wanted.decoding) &&
      (!wanted.subject || data.problems[episode.problem].subject === wanted.subject) &&
      (!search || text(episode).includes(search)));
    page = 0;
    draw();
  };
  const turn = (by) => { page += by; draw(); document.getElementById("browser").scrollIntoView({ block: "start" }); };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  back.addEventListener("click", () => turn(-1));
  next.addEventListener("click", () => turn(1));
  filter();
}
browser();
