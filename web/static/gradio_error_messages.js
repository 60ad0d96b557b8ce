// Shows why the server refused an event. Gradio's client shows the `detail` of an error response, but the server's
// errors carry their message in `error.message`, so a refused event would fail without any visible message.
// This is a classic script because it must run before Gradio's modules.

(() => {
  const originalFetch = window.fetch.bind(window);

  window.fetch = async (resource, options) => {
    const response = await originalFetch(resource, options);
    if (response.ok || !response.url.includes("/gradio_api/queue/")) return response;
    const message = await readMessage(response.clone());
    if (message === undefined) return response;
    return Response.json({ detail: message }, { status: response.status });
  };

  /**
   * The message of an error response, undefined if it has none.
   * @param {Response} response
   * @returns {Promise<string | undefined>}
   */
  async function readMessage(response) {
    try {
      const { error } = await response.json();
      return typeof error?.message === "string" ? error.message : undefined;
    } catch {
      return undefined;
    }
  }
})();
