"use strict";
// Sorts, filters, and shows one model's page at a time. Without it everything stands on the page, one below the other.
// The view is kept behind # in the address: "#task=busi&sort=accuracy-descending", or "#model=…" for a model's page.
document.documentElement.classList.add("script");

document.addEventListener("DOMContentLoaded", () => {
  const byId = (id) => document.getElementById(id);
  const form = byId("filters");
  const status = byId("status");
  const tables = [...document.querySelectorAll("table.sortable")].map(prepared);
  const title = document.title;
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const FILTERS = ["task", "family", "condition", "size"];
  let view = ""; // what stands behind # for the table as it is shown
  let opener = null; // the link that opened the model's page

  // A table with its rows as they came, and the column that it is sorted by.
  function prepared(table) {
    const one = { table, name: table.dataset.name, rows: [...table.tBodies[0].rows], sort: null };
    for (const head of table.tHead.rows[0].cells) {
      if (!head.dataset.key) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const other = { ascending: "descending", descending: "ascending" };
        const again = one.sort && one.sort.key === head.dataset.key;
        one.sort = { key: head.dataset.key, direction: again ? other[one.sort.direction] : head.dataset.first };
        changed();
      });
    }
    return one;
  }

  const heads = (one) => [...one.table.tHead.rows[0].cells];

  // Numbers by size, words by the alphabet, what is missing last either way, equals as they came.
  function sort(one) {
    const column = heads(one).findIndex((head) => one.sort && head.dataset.key === one.sort.key);
    heads(one).forEach((head, at) => {
      if (at === column) head.setAttribute("aria-sort", one.sort.direction);
      else head.removeAttribute("aria-sort");
    });
    let rows = one.rows;
    if (column >= 0) {
      const sign = one.sort.direction === "ascending" ? 1 : -1;
      const held = rows.map((row) => {
        const cell = row.cells[column];
        return { row, value: cell.dataset.value ?? cell.textContent.trim() };
      });
      held.sort((a, b) => {
        if (a.value === "" || b.value === "") return (a.value === "") - (b.value === "");
        const numbers = Number(a.value) - Number(b.value);
        return sign * (Number.isNaN(numbers) ? collator.compare(a.value, b.value) : numbers);
      });
      rows = held.map((one) => one.row);
    }
    one.table.tBodies[0].append(...rows);
  }

  function passes(row) {
    if (row.dataset.role === "reference" && !form.elements.references.checked) return false;
    const sought = form.elements.q.value.trim().toLowerCase();
    if (sought && !row.querySelector("th").textContent.toLowerCase().includes(sought)) return false;
    // A table without a task in its rows holds all of them.
    return FILTERS.every((name) => {
      const wanted = form.elements[name].value;
      return !wanted || !(name in row.dataset) || row.dataset[name] === wanted;
    });
  }

  function draw() {
    for (const one of tables) {
      sort(one);
      for (const row of one.rows) row.hidden = !passes(row);
    }
    const { rows, sort: by } = tables[0];
    const count = rows.filter((row) => !row.hidden).length;
    const head = by && heads(tables[0]).find((one) => one.dataset.key === by.key);
    const order = head ? `, sorted by ${head.querySelector("button").firstChild.textContent.trim().toLowerCase()}, ${by.direction}` : "";
    const said = `${count} of ${rows.length} results shown${order}.`;
    if (status.textContent !== said) status.textContent = said;
    byId("no-match").hidden = count > 0;
    tables[0].table.tBodies[0].hidden = count === 0;
  }

  function written() {
    const found = new URLSearchParams();
    for (const name of [...FILTERS, "q"]) {
      const value = form.elements[name].value.trim();
      if (value) found.set(name, value);
    }
    if (!form.elements.references.checked) found.set("references", "no");
    for (const one of tables) if (one.sort) found.set(one.name, `${one.sort.key}-${one.sort.direction}`);
    return found.toString();
  }

  function read(found) {
    for (const name of FILTERS) {
      const select = form.elements[name];
      select.value = found.get(name) ?? "";
      if (select.selectedIndex < 0) select.value = "";
    }
    form.elements.q.value = found.get("q") ?? "";
    form.elements.references.checked = found.get("references") !== "no";
    for (const one of tables) {
      const [key, direction] = (found.get(one.name) ?? "").split("-");
      const known = heads(one).some((head) => key && head.dataset.key === key);
      one.sort = known && ["ascending", "descending"].includes(direction) ? { key, direction } : null;
    }
  }

  // After a change by hand: the address follows, and "back" does not have to undo every letter typed.
  function changed() {
    draw();
    view = written();
    history.replaceState(null, "", `#${view}`);
  }

  function open(article, task) {
    for (const one of document.querySelectorAll("article.model.open")) one.classList.remove("open");
    article.classList.add("open");
    document.documentElement.classList.add("one");
    article.querySelector(".back").href = `#${view}`;
    const heading = byId(`${article.id}${task ? `&task=${task}` : ""}&title`) ?? byId(`${article.id}&title`);
    document.title = `${byId(`${article.id}&title`).textContent} – ${title}`;
    const single = article.querySelectorAll("section.result").length === 1;
    const target = single ? byId(`${article.id}&title`) : heading;
    target.focus({ preventScroll: true });
    if (single) scrollTo(0, 0);
    else target.scrollIntoView();
  }

  function overview() {
    document.documentElement.classList.remove("one");
    document.title = title;
    const last = opener;
    opener = null;
    return last;
  }

  // Show what the address asks for: a model's page, a part of the board, or the table in some order.
  function route() {
    const asked = location.hash.slice(1);
    const found = new URLSearchParams(asked);
    const model = found.get("model");
    const article = model && byId(`model=${model}`);
    if (article) return open(article, found.get("task"));
    const part = asked && byId("overview").querySelector(`[id="${CSS.escape(asked)}"]`);
    const last = overview();
    if (part) {
      (byId(`${asked}-title`) ?? part).focus({ preventScroll: true });
      part.scrollIntoView();
      return undefined;
    }
    read(found);
    draw();
    view = written();
    if (last) last.focus();
    if (model) status.textContent = `This board has no such model. ${status.textContent}`;
    return undefined;
  }

  form.addEventListener("input", changed);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => {
    // The fields have their first values again only after this event.
    for (const one of tables) one.sort = null;
    setTimeout(changed);
  });
  byId("overview").addEventListener("click", (event) => {
    opener = event.target.closest("a");
  });
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId("content").focus();
  });
  for (const link of document.querySelectorAll(".task-link")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      form.elements.task.value = link.dataset.task;
      changed();
      byId("results-title").focus({ preventScroll: true });
      byId("results").scrollIntoView();
    });
  }
  addEventListener("hashchange", route);
  draw();
  route();
  if (view) byId("results").scrollIntoView(); // a shared view: what was sorted or filtered comes first
});
