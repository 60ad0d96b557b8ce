// The page after a payment polls every two seconds until the plan is active or the server stops asking it to.
// Without JavaScript, a <meta> refresh reloads the page instead.

const POLL_INTERVAL_MS = 2000;

/**
 * Fetches the page at `next` and shows it once it no longer asks to be polled.
 * @param {string} next
 */
async function poll(next) {
  try {
    const response = await fetch(next, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const following = nextAddress(page);
    if (response.ok && !following) {
      document.querySelector("main")?.replaceChildren(...(page.querySelector("main")?.childNodes ?? []));
      document.title = page.title;
      // Back to where the credits ran out.
      /** @type {HTMLAnchorElement | null} */ (document.querySelector("main a[data-continue]"))?.click();
      return;
    }
    if (following) next = following;
  } catch {
    // The server was unreachable; the next request may succeed.
  }
  setTimeout(poll, POLL_INTERVAL_MS, next);
}

/**
 * The address to poll next, if the page asks for it.
 * @param {Document} page
 */
function nextAddress(page) {
  return /** @type {HTMLElement | null} */ (page.querySelector("[data-next]"))?.dataset.next;
}

const first = nextAddress(document);
if (first) setTimeout(poll, POLL_INTERVAL_MS, first);
