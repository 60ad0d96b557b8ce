// The page after a payment: looks every two seconds whether the plan has arrived, until the server says stop.
// Without scripts the page loads itself again instead.

const PAUSE_MS = 2000;

async function look(next) {
  const main = document.querySelector("main");
  try {
    const answer = await fetch(next, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const waiting = page.querySelector("[data-next]");
    if (answer.ok && !waiting) {
      main.replaceChildren(...page.querySelector("main").childNodes);
      document.title = page.title;
      return;
    }
    if (waiting) next = waiting.dataset.next;
  } catch {
    // The server was away for a moment; the next look may reach it.
  }
  setTimeout(look, PAUSE_MS, next);
}

const waiting = document.querySelector("[data-next]");
if (waiting) setTimeout(look, PAUSE_MS, waiting.dataset.next);
