"use strict";
// A fragment never reaches the server: links that KFP's SDK prints are followed here.
const LINKS = [
  [/^#\/runs\/details\/([^/?&]+)/, (id) => `/runs/${id}`],
  [/^#\/experiments\/details\/([^/?&]+)/, (id) => `/experiments/${id}`],
  [/^#\/pipelines\/details\/([^/?&]+)\/version\/([^/?&]+)/, (id, version) => `/pipelines/${id}?version=${version}`],
  [/^#\/pipelines\/details\/([^/?&]+)/, (id) => `/pipelines/${id}`],
  [/^#\/recurringrun\/details\/([^/?&]+)/, (id) => `/recurringruns/${id}`],
  [/^#\/(runs|experiments|pipelines|recurringruns)$/, (list) => `/${list}`],
];
function follow() {
  for (const [pattern, path] of LINKS) {
    const found = pattern.exec(location.hash);
    if (found) { location.replace(path(...found.slice(1))); return; }
  }
}
const next = document.getElementById("next");
if (next) {
  if (location.hash) next.value = "/" + location.hash;
} else if (location.pathname === "/") {
  follow();
  addEventListener("hashchange", follow);
}
// While something moves, the page is fetched again and its main part put in place of the old one.
const LOOK_MS = 2000;
async function refresh() {
  if (!document.body.hasAttribute("data-refresh")) return;
  const begin = performance.now();
  try {
    if (!document.hidden) {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.ok && !answer.redirected) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        const main = document.querySelector("main"), next = fresh.querySelector("main");
        if (next && main.innerHTML !== next.innerHTML) main.replaceWith(document.adoptNode(next));
        if (!fresh.body.hasAttribute("data-refresh")) document.body.removeAttribute("data-refresh");
      }
    }
  } catch { /* the server may be back in a moment */ }
  setTimeout(refresh, LOOK_MS + 4 * (performance.now() - begin));
}
setTimeout(refresh, LOOK_MS);
