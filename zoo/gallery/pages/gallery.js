"use strict";
// Filters and comparison of the list, and the structure that turns. Text from cards is only ever set as text.

const form = document.getElementById("filters");
if (form) list(form);
for (const canvas of document.querySelectorAll("canvas[data-structure]")) turn(canvas);

function list(form) {
  const rows = [...document.querySelectorAll("tr[data-model]")];
  const read = (row, key) => JSON.parse(row.dataset[key]);
  const at_most = (text, limit) => limit === "" || (text !== "" && Number(text) <= Number(limit));

  function fits(row, wanted) {
    const known = read(row, "elements");
    const elements = wanted.elements.split(/[^A-Za-z]+/).filter(Boolean);
    const error = read(row, "errors")[wanted.property];
    return row.dataset.name.includes(wanted.name.trim().toLowerCase())
      && (!wanted.property || read(row, "property").includes(wanted.property))
      && elements.every((one) => known.includes(one))
      && ["family", "license", "origin"].every((key) => !wanted[key] || row.dataset[key] === wanted[key])
      && at_most(row.dataset.size, wanted.size)
      && (!wanted.property || wanted.error === "" || (error !== undefined && error <= Number(wanted.error)))
      && (wanted.speed === "" || (row.dataset.speed !== "" && Number(row.dataset.speed) >= Number(wanted.speed)));
  }

  function show() {
    const wanted = { error: "", ...Object.fromEntries(new FormData(form)) };
    for (const row of rows) row.hidden = !fits(row, wanted);
    for (const group of document.querySelectorAll(".group")) {
      group.hidden = !group.querySelector("tr[data-model]:not([hidden])");
    }
    form.querySelector("[name=error]").disabled = !wanted.property;  // form.elements is the field of that name
    const units = new Set(rows.map((row) => read(row, "units")[wanted.property]).filter(Boolean));
    form.querySelector("[name=unit]").value = wanted.property ? [...units].join(" or ") || "not measured" : "choose what it predicts";
    document.getElementById("count").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} models`;
  }

  function compare() {
    const chosen = rows.filter((row) => row.querySelector(".pick input").checked);
    const section = document.getElementById("comparison");
    const table = section.querySelector("table");
    section.hidden = chosen.length < 2;
    table.replaceChildren();
    const line = (title, values) => {
      const row = table.insertRow();
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = title;
      row.append(head);
      for (const value of values) row.insertCell().textContent = value;
    };
    line("model", chosen.map((row) => row.dataset.model));
    line("for", chosen.map((row) => row.dataset.for));
    for (const cell of chosen.length ? chosen[0].querySelectorAll("td[data-label]") : []) {
      const label = cell.dataset.label;
      line(label, chosen.map((row) => row.querySelector(`td[data-label="${label}"]`).textContent));
    }
    line("valid for", chosen.map((row) => row.dataset.reach || "–"));
    for (const target of new Set(chosen.flatMap((row) => Object.keys(read(row, "errors"))))) {
      line(`test MAE of ${target}`, chosen.map((row) => {
        const value = read(row, "errors")[target];
        return value === undefined ? "–" : `${Number(value.toPrecision(4))} ${read(row, "units")[target]}`;
      }));
    }
  }

  form.hidden = false;
  for (const cell of document.querySelectorAll(".pick")) cell.hidden = false;
  form.addEventListener("input", show);
  form.addEventListener("reset", () => setTimeout(show));
  form.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("change", (event) => event.target.closest(".pick") && compare());
  show();
  compare();
}

function turn(canvas) {
  const { symbols, positions, cell } = JSON.parse(canvas.dataset.structure);
  const centred = cell ? [[0, 0, 0], [0, 1, 2].map((k) => cell[0][k] + cell[1][k] + cell[2][k])] : positions;
  const middle = [0, 1, 2].map((k) => centred.reduce((sum, x) => sum + x[k], 0) / centred.length);
  const atoms = positions.map((x, i) => ({ symbol: symbols[i], x: x.map((value, k) => value - middle[k]) }));
  const corners = cell ? [0, 1, 2, 3, 4, 5, 6, 7].map((c) =>
    [0, 1, 2].map((k) => [0, 1, 2].reduce((sum, a) => sum + ((c >> a) & 1) * cell[a][k], 0) - middle[k])) : [];
  const size = Math.max(...[...atoms.map((a) => a.x), ...corners].map((x) => Math.hypot(...x)), 1) + 0.8;
  const scale = 0.5 * Math.min(canvas.width, canvas.height) / size;
  const colours = { H: "#e8e8e8", C: "#5a5a5a", N: "#4a6fe3", O: "#d94646", F: "#6cc24a", Na: "#a86be0", Cl: "#4fbf4f", Si: "#d9b27c", S: "#e0c93c" };
  const radius = (symbol) => (symbol === "H" ? 0.28 : 0.42);
  const reach = (a, b) => (a === "H" || b === "H" ? 1.3 : 1.9);
  let turned = 0.6, tilted = 0.35;

  function seen([x, y, z]) {
    const [s, c] = [Math.sin(turned), Math.cos(turned)], [t, u] = [Math.sin(tilted), Math.cos(tilted)];
    const [across, deep] = [c * x + s * z, c * z - s * x];
    return [canvas.width / 2 + scale * across, canvas.height / 2 - scale * (u * y - t * deep), t * y + u * deep];
  }

  function draw() {
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, canvas.width, canvas.height);
    const stroke = (a, b, width, colour) => {
      pen.lineWidth = width;
      pen.strokeStyle = colour;
      pen.beginPath();
      pen.moveTo(a[0], a[1]);
      pen.lineTo(b[0], b[1]);
      pen.stroke();
    };
    const box = corners.map(seen);
    for (let c = 0; c < box.length; c++) for (const a of [1, 2, 4]) if (!(c & a)) stroke(box[c], box[c | a], 1, "#8a93a3");
    const found = atoms.map((atom) => ({ ...atom, at: seen(atom.x) }));
    for (let i = 0; i < found.length; i++) for (let j = 0; j < i; j++) {
      const far = Math.hypot(...found[i].x.map((value, k) => value - found[j].x[k]));
      if (far < reach(found[i].symbol, found[j].symbol)) stroke(found[i].at, found[j].at, 0.16 * scale, "#9aa1ad");
    }
    for (const atom of found.sort((a, b) => a.at[2] - b.at[2])) {
      pen.fillStyle = colours[atom.symbol] || "#c58a3a";
      pen.strokeStyle = "#303030";
      pen.lineWidth = 1;
      pen.beginPath();
      pen.arc(atom.at[0], atom.at[1], radius(atom.symbol) * scale, 0, 7);
      pen.fill();
      pen.stroke();
    }
  }

  canvas.addEventListener("pointermove", (event) => {
    if (!event.buttons) return;
    turned += event.movementX / 80;
    tilted += event.movementY / 80;
    draw();
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.15], ArrowDown: [0, 0.15] }[event.key];
    if (!step) return;
    event.preventDefault();
    turned += step[0];
    tilted += step[1];
    draw();
  });
  canvas.parentElement.hidden = false;
  draw();
}
