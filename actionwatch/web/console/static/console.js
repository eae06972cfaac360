// The pages work without this script. It shows times in the viewer's zone, and adds keys and the note about new alerts.
"use strict";
(() => {
  const two = (number) => String(number).padStart(2, "0");
  const day = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const clock = (at) => `${two(at.getHours())}:${two(at.getMinutes())}`;

  for (const time of document.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const local = `${day(at)} ${clock(at)}:${two(at.getSeconds())}`;
    if (!time.title) time.title = `${time.textContent} UTC`;
    if ("ago" in time.dataset) time.title = `${local} (${time.title})`;
    else time.textContent = "short" in time.dataset ? `${day(at).slice(5)} ${clock(at)}` : local;
  }
  const zone = document.querySelector("[data-zone]");
  const name = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && name && name !== "UTC") zone.textContent = `Times are in ${name}; hover over one for UTC.`;

  // A link from another site opens the sign-in page even in a signed-in browser, which sends its cookie only to our own requests.
  const form = document.querySelector("form[data-goal]");
  if (form) {
    fetch("/sign-in", { method: "HEAD", redirect: "manual" }).then((answer) => {
      if (answer.type === "opaqueredirect") location.replace(form.dataset.goal);
    }, () => {});
  }

  const keys = document.getElementById("keys");
  const pages = { o: "/", a: "/alerts", r: "/records", d: "/deliveries", s: "/silences", u: "/rules" };
  let isGoing = false;
  const move = (step) => {
    const items = [...document.querySelectorAll("[data-item]")];
    if (!items.length) return;
    const active = document.activeElement;
    const place = items.findIndex((item) => item === active || item.closest("tr")?.contains(active));
    const next = place < 0 ? (step > 0 ? 0 : items.length - 1) : Math.min(Math.max(place + step, 0), items.length - 1);
    items[next].focus();
    items[next].scrollIntoView({ block: "nearest" });
  };
  // Rows of a list that people select: all with one click, one with a key. Forms count what is selected.
  const picks = () => [...document.querySelectorAll("input[name=id][type=checkbox]")];
  const pickOf = (element) => element?.closest?.("tr")?.querySelector("input[name=id][type=checkbox]");
  const count = () => {
    const note = document.querySelector("[data-selected]");
    const chosen = picks().filter((pick) => pick.checked).length;
    if (note) note.textContent = chosen ? `${chosen} selected` : "";
  };
  document.querySelector("[data-select-all]")?.addEventListener("click", (event) => {
    const isAll = picks().every((pick) => pick.checked);
    for (const pick of picks()) pick.checked = !isAll;
    count();
    event.preventDefault();
  });
  document.addEventListener("change", count);
  const toggle = () => {
    const pick = pickOf(document.activeElement);
    if (pick) pick.checked = !pick.checked;
    count();
  };
  const press = (key) => {
    const button = document.querySelector(`button[data-key="${key}"]`);
    const pick = pickOf(document.activeElement);
    if (pick && !picks().some((each) => each.checked)) pick.checked = true;
    count();
    const comment = button?.form.querySelector("textarea[data-comment]");
    if (key === "s" && comment && !comment.value.trim()) comment.focus();
    else button?.click();
  };
  count();

  // A long action shows that it runs, until the page changes or a download has begun.
  const running = document.querySelector("[data-running]");
  const rest = () => {
    for (const each of document.querySelectorAll("[aria-busy]")) each.removeAttribute("aria-busy");
    running.textContent = "";
  };
  const run = (event, element, form) => {
    if (element.matches("[aria-busy]") || form?.querySelector("[aria-busy]")) return event.preventDefault(); // pressed twice
    element.setAttribute("aria-busy", "true");
    const what = element.dataset.runs ?? form?.dataset.runs ?? "Working…";
    running.textContent = what.replace(/\{(\w+)\}/, (_, field) => form.elements[field].value);
    setTimeout(rest, form ? 30_000 : 5_000);
  };
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.getAttribute("method") !== "dialog") run(event, event.submitter ?? form, form);
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-runs]");
    if (link) run(event, link);
  });
  addEventListener("pageshow", rest);

  document.addEventListener("keydown", (event) => {
    const target = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey || keys.open) return;
    if (target instanceof Element && target.closest("input:not([type=checkbox]), textarea, select")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    const wasGoing = isGoing;
    isGoing = false;
    if (wasGoing && event.key in pages) location.assign(pages[event.key]);
    else if (event.key === "g") isGoing = true;
    else if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else if (event.key === "x") toggle();
    else if (["a", "e", "s"].includes(event.key)) press(event.key);
    else if (event.key === "?") keys.showModal();
    else if (event.key === "/") {
      const search = document.querySelector("[data-search]");
      if (!search) return location.assign("/alerts");
      search.closest("details")?.setAttribute("open", "");
      search.focus();
      search.select();
    } else return;
    event.preventDefault();
  });

  // A page asks for news only while somebody looks at it.
  const note = document.querySelector("[data-new]");
  if (note) {
    const look = async () => {
      if (document.visibilityState !== "visible") return;
      const answer = await fetch(note.dataset.new).catch(() => null);
      const found = answer?.ok ? await answer.json().catch(() => null) : null;
      if (!found) return;
      const reload = document.createElement("a");
      reload.href = location.href;
      reload.textContent = `${found.count}${found.more ? " or more" : ""} new ${found.count === 1 ? "alert" : "alerts"}: reload`;
      note.replaceChildren(reload);
      note.hidden = !found.count;
    };
    setInterval(look, 15_000);
    document.addEventListener("visibilitychange", look);
  }

  // The name of the person who decides is kept in this browser.
  for (const author of document.querySelectorAll("input[data-author]")) {
    author.value ||= localStorage.getItem("author") ?? "";
    author.form.addEventListener("submit", () => localStorage.setItem("author", author.value));
  }
})();
