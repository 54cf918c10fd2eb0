// Looks for what is wrong with a page of the report and lists it in <pre id="verdict">, a line each.
"use strict";
const found = [];

for (const details of document.querySelectorAll("details")) details.open = true;

const within = (inner, outer) =>
  inner.left >= outer.left - 1 && inner.right <= outer.right + 1 && inner.top >= outer.top - 1 && inner.bottom <= outer.bottom + 1;
const overlap = (a, b) =>
  Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1.5 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1.5;

for (const svg of document.querySelectorAll("svg")) {
  const name = svg.querySelector("title")?.textContent ?? "a figure";
  const frame = svg.getBoundingClientRect();
  if (!svg.querySelector("path, circle, rect, polyline, polygon, use")) found.push(`${name}: has no marks`);
  if (/NaN|Infinity|undefined/.test(svg.outerHTML)) found.push(`${name}: a place is no number`);
  const texts = [...svg.querySelectorAll("text")].filter((text) => text.textContent.trim() !== "");
  // Turned text has a large box around little ink: only upright text is compared.
  const upright = texts.filter((text) => !/rotate/.test(text.getAttribute("transform") ?? ""));
  for (const text of texts) {
    if (!within(text.getBoundingClientRect(), frame)) found.push(`${name}: \`${text.textContent}\` sticks out`);
  }
  upright.forEach((a, at) => {
    for (const b of upright.slice(at + 1)) {
      if (overlap(a.getBoundingClientRect(), b.getBoundingClientRect())) {
        found.push(`${name}: \`${a.textContent}\` lies on \`${b.textContent}\``);
      }
    }
  });
}

const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
for (const id of new Set(ids.filter((id, at) => ids.indexOf(id) !== at))) found.push(`the id ${id} is used twice`);
for (const link of document.querySelectorAll('a[href^="#"]')) {
  if (!document.getElementById(link.getAttribute("href").slice(1))) found.push(`${link.href} leads nowhere`);
}
if (document.documentElement.scrollWidth > window.innerWidth + 1) found.push("the page is wider than the window");
for (const entry of performance.getEntriesByType("resource")) found.push(`fetches ${entry.name}`);
for (const image of document.querySelectorAll("img, link, script[src], iframe")) {
  found.push(`fetches ${image.src || image.href}`);
}
// Set by the page's head before anything else ran, where there were errors.
for (const problem of window.problems ?? []) found.push(problem);

const verdict = document.createElement("pre");
verdict.id = "verdict";
verdict.textContent = found.length ? found.join("\n") : "fine";
document.body.append(verdict);
