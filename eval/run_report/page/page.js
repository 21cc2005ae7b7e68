/* Unpacks the samples and shows those that are asked for. What a model wrote reaches the page as text (`textContent`)
   and never as markup. */
(() => {
  const $ = (id) => document.getElementById(id);
  const PAUSE_MS = 120; // in typing, before the text is looked for

  async function unpacked() {
    const packed = atob($("packed").textContent);
    const bytes = Uint8Array.from(packed, (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  }

  function start(data) {
    const { columns, texts, outcomes, problems, sets } = data;
    const count = columns.set.length;
    const passed = outcomes.findIndex((one) => one.name === "passed");
    const unscored = outcomes.findIndex((one) => one.name === "unscored");
    const partners = partnersOf(data.pairs);
    const perProblem = problems.map(() => []);
    for (let row = 0; row < count; row++) perProblem[columns.problem[row]].push(row);
    let lower = null; // the texts in small letters, once one is looked for
    let lowerNames = null;
    let byProblem = perProblem;
    let problem = -1; // all

    const text = (name, row) => texts[columns[name][row]];

    function partnersOf(pairs) {
      const found = new Map();
      const add = (row, entry) => found.set(row, [...(found.get(row) || []), entry]);
      for (const [chosen, rejected, times, training] of pairs) {
        add(rejected, { chosen, rejected, times, training });
        add(chosen, { chosen, rejected, times, training });
      }
      return found;
    }

    /* Rows that the filters let through. */
    function wanted() {
      const query = $("text").value.toLowerCase();
      const outcome = $("outcome").value;
      const set = $("set").value;
      const paired = $("paired").checked;
      const code = outcomes.findIndex((one) => one.name === outcome);
      let hit = null;
      let named = null;
      if (query) {
        lower = lower || texts.map((one) => one.toLowerCase());
        lowerNames = lowerNames || problems.map((one) => `${one.id}\n${one.prompt}`.toLowerCase());
        hit = lower.map((one) => one.includes(query));
        named = lowerNames.map((one) => one.includes(query));
      }
      return (row) => {
        const ended = columns.outcome[row];
        if (set !== "" && columns.set[row] !== Number(set)) return false;
        if (outcome === "!" ? ended === passed || ended === unscored : outcome && ended !== code) return false;
        if (paired && !partners.has(row)) return false;
        if (!query || named[columns.problem[row]]) return true;
        const searched = ["program", "completion", "test", "detail", "stdout", "exception"];
        return searched.some((name) => hit[columns[name][row]]);
      };
    }

    function filter() {
      const test = wanted();
      byProblem = perProblem.map((rows) => rows.filter(test));
      const numbers = byProblem.flatMap((rows, number) => (rows.length ? [number] : []));
      const found = byProblem.reduce((sum, rows) => sum + rows.length, 0);
      if (!numbers.includes(problem)) problem = -1;
      problemList.set([-1, ...numbers], problem === -1 ? 0 : 1 + numbers.indexOf(problem));
      const many = (n) => n.toLocaleString("en");
      $("count").textContent = `${many(found)} of ${many(count)} samples, ${many(numbers.length)} problems`;
      showSamples();
    }

    function showSamples() {
      sampleList.set(problem === -1 ? byProblem.flat() : byProblem[problem], 0);
      if (sampleList.items.length) sampleList.select(0);
      else $("detail").replaceChildren(node("p", "note", "No sample is as asked for."));
    }

    function drawProblem(item, number) {
      const rows = number === -1 ? null : byProblem[number];
      const name = number === -1 ? "all problems" : problems[number].id;
      item.append(node("div", "", name));
      item.title = name;
      if (!rows) {
        item.append(node("div", "more", "every sample that the filters let through"));
        return;
      }
      const good = rows.filter((row) => columns.outcome[row] === passed).length;
      item.append(node("div", "more", `${good} of ${rows.length} passed`));
      const meter = item.appendChild(node("div", "meter"));
      meter.appendChild(node("i")).style.width = `${(100 * good) / rows.length}%`;
    }

    function drawSample(item, row) {
      const ended = outcomes[columns.outcome[row]];
      const head = item.appendChild(node("div"));
      head.append(node("span", `swatch ${ended.css}`), node("span", "", ended.name));
      if (problem === -1) head.append(node("span", "more", ` ${problems[columns.problem[row]].id}`));
      const passing = columns.total[row] ? `${tests(row)} tests · ` : "";
      item.append(node("div", "more", `${partners.has(row) ? "in a pair · " : ""}${passing}${place(row)}`));
      item.title = problems[columns.problem[row]].id;
    }

    const cut = (row) => data.stopped[columns.set[row]] && outcomes[columns.outcome[row]].name !== "passed";
    const tests = (row) => `${cut(row) ? "first " : ""}${columns.passed[row]} of ${columns.total[row]}`;
    const version = (row) => (columns.version[row] < 0 ? "" : ` · v${columns.version[row]}`);
    const place = (row) => `${sets[columns.set[row]]}${version(row)} · #${columns.index[row]}`;

    function part(title, value, css) {
      if (!value) return [];
      return [node("h4", "", title), node("pre", css || "wrap", value)];
    }

    function program(row) {
      const source = text("program", row);
      if (!source) return [];
      const box = node("pre", "code");
      source.split("\n").forEach((line, at) => {
        box.append(node("span", at + 1 === columns.line[row] ? "bad" : "", line));
      });
      return [node("h4", "", `program (${text("how", row)})`), box];
    }

    function showDetail(row) {
      const ended = outcomes[columns.outcome[row]];
      const verdict = node("p");
      verdict.append(node("span", `swatch ${ended.css}`), node("strong", "", ended.name));
      const facts = [];
      if (columns.total[row]) facts.push(`${tests(row)} tests passed${cut(row) ? ", the rest not run" : ""}`);
      if (columns.line[row]) facts.push(`line ${columns.line[row]}`);
      if (columns.ms[row]) facts.push(`${columns.ms[row]} ms`, `${columns.mib[row]} MiB`);
      verdict.append(node("span", "", facts.length ? ` · ${facts.join(" · ")}` : ""));
      const found = ended.name === "no_code" ? text("how", row) : "";
      const own = problems[columns.problem[row]];
      $("detail").replaceChildren(
        node("h3", "", own.id),
        node("p", "note", place(row)),
        verdict,
        ...part("failing test", text("test", row)),
        ...part("message", text("detail", row) || text("exception", row)),
        ...part("no program", found),
        ...program(row),
        ...part("completion", text("completion", row)),
        ...part("printed", text("stdout", row)),
        ...diffs(row),
        ...part("prompt", own.prompt),
      );
      $("detail").scrollTop = 0;
    }

    function diffs(row) {
      const drawn = (partners.get(row) || []).map((one) => ({
        ...one,
        ends: ["rejected", "chosen"],
        title: `${one.training} drew this pair ${one.times === 1 ? "once" : `${one.times} times`}`,
      }));
      if (!drawn.length && columns.outcome[row] !== passed) {
        const other = perProblem[columns.problem[row]].find(
          (one) => columns.outcome[one] === passed && columns.program[one] !== columns.program[row],
        );
        const title = "a sample that passed, not a pair";
        if (other !== undefined) drawn.push({ rejected: row, chosen: other, ends: ["this one", "passed"], title });
      }
      if (!drawn.length) return [];
      const box = node("div");
      const show = (one) => {
        const lines = difference(body(one.rejected), body(one.chosen));
        const kinds = { "-": "out", "+": "in", " ": "" };
        const shown = node("pre", "diff");
        for (const [sign, line] of lines) shown.append(node("span", kinds[sign], `${sign} ${line}`));
        const [from, to] = one.ends;
        box.replaceChildren(
          node("p", "note", `− ${from}: ${place(one.rejected)}`),
          node("p", "note", `+ ${to}: ${place(one.chosen)}`),
          shown,
        );
      };
      show(drawn[0]);
      const heading = node("h4", "", `difference: ${drawn[0].title}`);
      if (drawn.length === 1) return [heading, box];
      const choice = node("select");
      choice.setAttribute("aria-label", "pair");
      drawn.forEach((one, at) => choice.append(new Option(`pair ${at + 1} of ${drawn.length}: ${one.title}`, at)));
      choice.addEventListener("change", () => show(drawn[Number(choice.value)]));
      heading.textContent = "difference";
      return [heading, choice, box];
    }

    const body = (row) => text("program", row) || text("completion", row);

    const problemList = new List($("problems"), 54, drawProblem, (number) => {
      problem = number;
      showSamples();
    });
    const sampleList = new List($("samples"), 46, drawSample, showDetail);

    let waiting = 0;
    $("text").addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(filter, PAUSE_MS);
    });
    for (const id of ["outcome", "set", "paired"]) $(id).addEventListener("change", filter);
    $("filters").addEventListener("submit", (event) => event.preventDefault());
    $("filters").addEventListener("reset", () => setTimeout(filter, 0));
    document.querySelectorAll("a[data-problem]").forEach((link) => {
      link.addEventListener("click", () => {
        $("filters").reset();
        $("outcome").value = link.dataset.outcome;
        problem = Number(link.dataset.problem);
        setTimeout(filter, 1); // behind what the reset asked for
      });
    });
    document.querySelector(".panes").hidden = false;
    filter();
    document.documentElement.dataset.ready = "yes";
  }

  if ($("count")) {
    unpacked().then(start).catch((error) => {
      $("count").textContent = `The samples can't be shown: ${error.message}. A browser from 2023 on can.`;
      throw error;
    });
  } else {
    document.documentElement.dataset.ready = "yes";
  }
})();
