// Pages work without this. It fills parts in, keeps figures new, moves the cursor of a timeline, and listens to keys.
"use strict";

const parse = (text) => new DOMParser().parseFromString(text, "text/html");

async function fetched(address) {
  const answer = await fetch(address, { credentials: "same-origin", headers: { "X-Part": "1" } });
  if (answer.redirected && new URL(answer.url).pathname === "/sign-in") location.reload();
  return { fine: answer.ok, text: await answer.text() };
}

// ---------------------------------------------------------------- parts that come later

async function load(place, address) {
  place.setAttribute("aria-busy", "true");
  try {
    const { text } = await fetched(address);
    place.replaceChildren(...parse(text).body.childNodes);
  } catch {
    const said = document.createElement("p");
    said.className = "notice bad";
    said.textContent = "There is no answer. Is knowngood serve still running? Load the page again.";
    place.replaceChildren(said);
  }
  place.removeAttribute("aria-busy");
  begin(place);
}

async function refresh(place) {
  if (document.hidden || place.contains(document.activeElement)) return;
  try {
    const { fine, text } = await fetched(location.href);
    const fresh = fine && parse(text).getElementById(place.id);
    document.body.classList.remove("stale");
    if (fresh && fresh.innerHTML !== place.innerHTML && !place.contains(document.activeElement)) {
      place.replaceChildren(...fresh.childNodes);
      begin(place);
    }
  } catch {
    document.body.classList.add("stale");
  }
}

// ---------------------------------------------------------------- the timeline

const two = (number) => String(number).padStart(2, "0");

function words(seconds, shift) {
  const d = new Date((seconds + shift) * 1000);
  return `${d.getUTCFullYear()}-${two(d.getUTCMonth() + 1)}-${two(d.getUTCDate())} ` +
    `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}:${two(d.getUTCSeconds())}`;
}

function before(points, second) {
  let low = 0, high = points.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle][0] <= second) low = middle + 1; else high = middle;
  }
  return points[low - 1];
}

function scrubbing(range) {
  const timeline = range.closest(".timeline");
  const facts = JSON.parse(timeline.dataset.facts);
  const line = timeline.querySelector(".cursor");
  const says = timeline.querySelector("#scrub-says");
  const at = timeline.querySelector("#scrub-at");
  const left = Number(line.dataset.left), right = Number(line.dataset.right);
  // The server's time zone, from the moment that it wrote in words.
  const shown = at.value.match(/\d+/g).map(Number);
  const shift = Date.UTC(shown[0], shown[1] - 1, shown[2], shown[3], shown[4], shown[5]) / 1000 - Number(range.value);
  const tell = () => {
    const second = Number(range.value);
    const x = left + (second - range.min) / (range.max - range.min) * (right - left);
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    at.value = words(second, shift);
    range.setAttribute("aria-valuetext", at.value);
    const whole = facts.covered.length > 0 &&
      facts.covered.every((lane) => lane.some(([from, until]) => from <= second && second <= until));
    const point = before(facts.points, second);
    says.textContent = `${at.value}: ` + (whole ? "exactly this moment can be had" :
      point ? `the nearest point before it is of ${point[4]}` : "nothing that early is shown here") +
      (point ? ` (point ${point[1]}, ${point[2]}, ${point[3]})` : "");
  };
  range.addEventListener("input", tell);
  range.addEventListener("keydown", (event) => {
    const steps = { PageUp: 10, PageDown: -10 }[event.key];
    if (steps) {
      event.preventDefault();
      range.value = Number(range.value) + steps;
      tell();
    }
  });
  tell();
}

// ---------------------------------------------------------------- lists

function filtering(input) {
  const things = () => document.querySelectorAll(input.dataset.filter);
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase();
    for (const each of things()) each.hidden = !each.dataset.name.toLowerCase().includes(wanted);
  });
}

// A link to the next page of a list puts it under this one instead, as soon as it is about to be seen.
function continuing(link) {
  const body = document.getElementById(link.dataset.more);
  const go = async () => {
    watch.disconnect();
    link.setAttribute("aria-busy", "true");
    const { text } = await fetched(link.href);
    const next = parse(text);
    body.append(...next.getElementById(link.dataset.more).children);
    const further = next.querySelector(`[data-more="${link.dataset.more}"]`);
    if (further) { link.replaceWith(further); continuing(further); } else link.remove();
  };
  const watch = new IntersectionObserver((seen) => { if (seen.some((each) => each.isIntersecting)) go(); },
    { rootMargin: "600px" });
  watch.observe(link);
  link.addEventListener("click", (event) => { event.preventDefault(); go(); });
}

// ---------------------------------------------------------------- work that goes on

function following(place) {
  const source = new EventSource(place.dataset.events);
  source.onmessage = (event) => {
    const told = JSON.parse(event.data);
    const bar = place.querySelector("progress");
    if (bar && told.part !== null) bar.value = told.part; else if (bar) bar.removeAttribute("value");
    place.querySelector(".said").textContent = told.text;
    if (told.ended) {
      source.close();
      location.reload();
    }
  };
}

// ---------------------------------------------------------------- keys

function row(step) {
  const links = [...document.querySelectorAll("main h2 a, main tbody a")].filter((each) => each.offsetParent);
  const now = links.indexOf(document.activeElement);
  links[Math.max(0, Math.min(links.length - 1, now + step))]?.focus();
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select");
  if (event.ctrlKey || event.metaKey || event.altKey || (typing && typing.type !== "range")) return;
  const act = {
    "/": () => document.querySelector("main input[type=search]")?.focus(),
    "s": () => { location.href = "/"; },
    "j": () => row(1),
    "k": () => row(-1),
    "?": () => document.getElementById("keys").showModal(),
  }[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-into]");
  if (link && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    load(document.getElementById(link.dataset.into), link.href);
  }
});

function begin(place) {
  for (const each of place.querySelectorAll("[data-load]")) load(each, each.dataset.load);
  for (const each of place.querySelectorAll("#scrub")) scrubbing(each);
  for (const each of place.querySelectorAll("[data-filter]")) filtering(each);
  for (const each of place.querySelectorAll("a[data-more]")) continuing(each);
  for (const each of place.querySelectorAll("[data-events]")) following(each);
  for (const each of place.querySelectorAll("[data-check-all]")) {
    each.addEventListener("change", () => {
      for (const box of document.querySelectorAll(each.dataset.checkAll)) box.checked = each.checked;
    });
  }
}

begin(document);
for (const each of document.querySelectorAll("[data-refresh]")) {
  setInterval(() => refresh(each), Number(each.dataset.refresh) * 1000);
}
