"use strict";
// Two things need a script: sorting tables, and browsing the gallery. All else is there without it.

function sortable(table) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  const valueOf = (row, at) => {
    const cell = row.cells[at];
    if (at === 0 || cell.classList.contains("text")) return cell.textContent.trim();
    return "value" in cell.dataset ? Number(cell.dataset.value) : null;
  };
  const sort = (at, direction) => {
    const sign = direction === "ascending" ? 1 : -1;
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => !row.classList.contains("section"));
      rows.sort((a, b) => {
        const [x, y] = [valueOf(a, at), valueOf(b, at)];
        if (x === null || y === null) return (x === null) - (y === null); // Holes come last.
        return sign * (typeof x === "number" ? x - y : x.localeCompare(y));
      });
      body.append(...rows);
    }
    heads.forEach((head, k) => (k === at ? head.setAttribute("aria-sort", direction) : head.removeAttribute("aria-sort")));
  };
  heads.forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const first = head.dataset.higherIsBetter === "true" ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      sort(at, now === first ? other : first);
    });
  });
}

function browsable(gallery, images, items) {
  const named = (name) => gallery.querySelector(`[name="${name}"]`);
  const [data, method, shows] = ["data", "method", "shows"].map(named);
  const [what, panels, count] = [".what", ".panels", "output"].map((s) => gallery.querySelector(s));
  const unique = (values) => [...new Set(values)];
  const wanted = {}; // What was last chosen in each list, though not every method may have it.
  let at = 0; // Position among the items that the three lists choose.

  const nameOf = (item) => `${item.data}, ${item.method}, ${item.shows}`;
  const fill = (select, values) => {
    select.replaceChildren(...values.map((value) => new Option(value, value)));
    select.value = values.includes(wanted[select.name]) ? wanted[select.name] : values[0];
  };
  const chosen = () => {
    const ofData = items.filter((item) => item.data === data.value);
    fill(method, unique(ofData.map((item) => item.method)));
    const ofMethod = ofData.filter((item) => item.method === method.value);
    fill(shows, unique(ofMethod.map((item) => item.shows)));
    return ofMethod.filter((item) => item.shows === shows.value);
  };
  const show = () => {
    const found = chosen();
    at = Math.min(Math.max(at, 0), found.length - 1);
    const item = found[at];
    what.textContent = nameOf(item);
    count.textContent = `${at + 1} of ${found.length}`;
    named("previous").disabled = at === 0;
    named("next").disabled = at === found.length - 1;
    panels.replaceChildren(
      ...item.panels.map(([caption, image]) => {
        const [figure, picture, text] = ["figure", "img", "figcaption"].map((t) => document.createElement(t));
        picture.src = images[image];
        picture.alt = `${caption} (${item.data}, image ${at + 1})`;
        text.textContent = caption;
        figure.append(picture, text);
        return figure;
      }),
    );
    gallery.querySelectorAll(".classes").forEach((list) => (list.hidden = list.dataset.data !== item.data));
  };
  const step = (by) => {
    at += by;
    show();
  };
  const turn = (by) => {
    const { options, selectedIndex } = method;
    wanted.method = options[(selectedIndex + by + options.length) % options.length].value;
    show();
  };

  Object.assign(wanted, items.find((item) => nameOf(item) === what.textContent));
  fill(data, unique(items.map((item) => item.data)));
  for (const select of [data, method, shows]) {
    select.addEventListener("change", () => {
      wanted[select.name] = select.value;
      show();
    });
  }
  named("previous").addEventListener("click", () => step(-1));
  named("next").addEventListener("click", () => step(1));
  gallery.addEventListener("keydown", (event) => {
    if (event.target.tagName === "SELECT" || event.altKey || event.ctrlKey || event.metaKey) return;
    const act = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), ArrowUp: () => turn(-1), ArrowDown: () => turn(1) }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  gallery.querySelector(".controls").hidden = false;
  show();
}

document.querySelectorAll(".im-results table, table.sortable").forEach(sortable);
document.querySelectorAll(".needs-script").forEach((text) => (text.hidden = false));
document.querySelectorAll(".no-script").forEach((text) => text.remove());
const pictures = document.getElementById("pictures");
if (pictures) {
  const { images, suites } = JSON.parse(pictures.textContent);
  document.querySelectorAll(".gallery").forEach((gallery) => browsable(gallery, images, suites[gallery.dataset.suite]));
}
