// A page of several runs: conditions that can be switched off, tables that can be sorted, and attempts of every condition
// at the same problem. It stands on page.js; texts of models are only ever put into the page as text nodes.

function switches() {
  const box = document.getElementById("switches");
  const inputs = [...box.querySelectorAll("input")];
  const apply = () => {
    hidden.clear();
    inputs.filter((input) => !input.checked).forEach((input) => hidden.add(Number(input.value)));
    document.querySelectorAll("[data-g]").forEach((one) => one.classList.toggle("off", hidden.has(Number(one.dataset.g))));
    document.body.classList.toggle("crowded", inputs.length - hidden.size > 6);
    document.dispatchEvent(new Event("conditions"));
  };
  box.addEventListener("input", apply);
  box.querySelectorAll("button").forEach((button) => button.addEventListener("click", () => {
    inputs.forEach((input) => { input.checked = Boolean(button.dataset.all); });
    apply();
  }));
}
switches();

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const value = (row, i) => i === 0 ? row.cells[0].textContent : row.cells[i].dataset.v === undefined ? -Infinity : Number(row.cells[i].dataset.v);
  heads.forEach((head, i) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") !== "descending" && i > 0 || head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const compare = (a, b) => i === 0 ? value(a, 0).localeCompare(value(b, 0)) : value(a, i) - value(b, i);
    body.append(...[...body.rows].sort((a, b) => down ? compare(b, a) : compare(a, b)));
  }));
}
document.querySelectorAll("table.sortable").forEach(sortable);

async function unpacked(source) {
  const bytes = Uint8Array.from(atob(source.textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

function gallery(data) {
  const form = document.getElementById("gallery-form"), list = document.getElementById("gallery");
  const count = document.getElementById("gallery-count");
  const back = document.getElementById("gallery-back"), next = document.getElementById("gallery-next");
  const labels = [...document.querySelectorAll("#switches label")].map((label) => label.textContent);
  const size = 3, BASE = 0;
  let page = 0, found = [];
  const there = new Set(data.episodes.map((e) => e[1]));
  [...there].sort((a, b) => a - b).forEach((g) => form.elements.of.append(element("option", { value: String(g) }, labels[g])));
  const has = (select, at, names) => [...select.options].forEach((option) => {
    const i = names.indexOf(option.value);
    if (option.value && i >= 0 && !data.episodes.some((e) => e[at] === i)) option.remove();
  });
  has(form.elements.kind, 5, data.kinds);
  has(form.elements.decoding, 3, data.decodings);
  // episodes by problem, in the order in which the page has them
  const by = data.problems.map(() => []);
  data.episodes.forEach((episode) => by[episode[0]].push(episode));
  const words = data.problems.map(() => null);
  const text = (p) => words[p] ??= [...data.problems[p].slice(0, 4), ...by[p].flatMap((e) => e[6].map((a) => data.texts[a[0]]))].join("\n").toLowerCase();
  const last = (episode) => episode[6][episode[6].length - 1][2];
  const chosen = (p, wanted) => by[p].filter((e) =>
    !hidden.has(e[1]) && data.decodings[e[3]] === wanted.decoding &&
    (e[1] === BASE || wanted.seed === undefined || String(e[2]) === wanted.seed));
  const one = (episode) => {
    const swatch = document.querySelectorAll("#switches svg")[episode[1]].cloneNode(true);
    const sample = data.decodings[episode[3]] === "greedy" ? "" : ` · sample ${episode[4] + 1}`;
    return element("section", {},
      element("h4", {}, swatch, labels[episode[1]], element("span", { className: "soft" }, `${data.kinds[episode[5]]}${sample}`)),
      ...episode[6].map((a, i) => attempt(i, data.texts[a[0]], a[1] < 0 ? null : data.texts[a[1]], a[2] === 1, data.texts[a[3]], a[5] ? "length" : "end", a[4])));
  };
  const shown = (p, wanted) => {
    const [id, question, gold, subject, level] = data.problems[p];
    const facts = [element("b", {}, `problem ${id}`), subject, level ? `level ${level}` : ""].filter(Boolean).map((fact) => element("span", {}, fact));
    return element("article", {}, element("header", {}, ...facts), element("p", { className: "ask" }, question),
      element("p", { className: "soft" }, `Expected: ${gold}`), element("div", { className: "conditions" }, ...chosen(p, wanted).map(one)));
  };
  let wanted = {};
  const draw = () => {
    const pages = Math.max(1, Math.ceil(found.length / size));
    page = Math.max(0, Math.min(pages - 1, page));
    list.replaceChildren(...found.slice(page * size, page * size + size).map((p) => shown(p, wanted)));
    count.textContent = found.length ? `page ${page + 1} of ${pages} · ${found.length.toLocaleString("en")} of ${data.problems.length.toLocaleString("en")} problems` : "no problem matches";
    back.disabled = page === 0;
    next.disabled = page === pages - 1;
  };
  const filter = () => {
    wanted = Object.fromEntries(new FormData(form));
    const search = (wanted.search || "").trim().toLowerCase();
    found = data.problems.map((_, p) => p).filter((p) => {
      if (wanted.subject && data.problems[p][3] !== wanted.subject || search && !text(p).includes(search)) return false;
      const here = chosen(p, wanted);
      if (!here.length) return false;
      const rights = new Set(here.map(last));
      if (wanted.show === "differ" && rights.size < 2 || wanted.show === "agree" && rights.size > 1) return false;
      const of = wanted.of ? here.filter((e) => String(e[1]) === wanted.of) : here;
      return wanted.kind ? of.some((e) => data.kinds[e[5]] === wanted.kind) : of.length > 0;
    });
    page = 0;
    draw();
  };
  const turn = (step) => { page += step; draw(); document.getElementById("attempts").scrollIntoView({ block: "start" }); };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("conditions", filter);
  back.addEventListener("click", () => turn(-1));
  next.addEventListener("click", () => turn(1));
  filter();
}

// The page is drawn before the attempts are unpacked.
const packed = document.getElementById("packed");
if (packed) {
  setTimeout(() => unpacked(packed).then(gallery).catch((error) => {
    document.getElementById("gallery-count").textContent = `the attempts could not be unpacked (${error.message}); a browser of 2023 or later can`;
  }), 0);
}
