// Answers come by one stream (`queue/data`), which the server ends when nothing more is asked for. On a slow line that
// end is still on its way when the browser asks for the next thing: Gradio 6.31 believes the stream open, opens none,
// then closes it, and the next answer is never fetched. Here the end counts only if every answer asked for has come;
// otherwise the stream goes on with a new request. Loaded once, in the page's head, before Gradio.
(() => {
  const plain = globalThis.fetch.bind(globalThis);
  const due = new Set(); // events that were asked for, and whose answers have not come
  const early = new Set(); // events whose answers came before their number did

  async function join(resource, options) {
    const answer = await plain(resource, options);
    if (answer.ok) {
      const said = await answer.clone().json().catch(() => ({}));
      if (said.event_id && !early.delete(said.event_id)) due.add(said.event_id);
    }
    return answer;
  }

  // True if the message is the end of the stream, and more is to come.
  function isEarlyEnd(message) {
    if (!message.startsWith("data:")) return false;
    const said = JSON.parse(message.slice(5));
    if (said.msg === "process_completed" && !due.delete(said.event_id)) early.add(said.event_id);
    if (said.msg === "unexpected_error" && !said.event_id) due.clear();
    return said.msg === "close_stream" && due.size > 0;
  }

  async function copy(first, again, controller) {
    let answer = first;
    while (answer) {
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      answer = null;
      let text = "";
      for (let { value, done } = await reader.read(); !done; { value, done } = await reader.read()) {
        const parts = (text + value).split("\n\n");
        text = parts.pop();
        for (const message of parts) {
          if (!isEarlyEnd(message)) controller.enqueue(new TextEncoder().encode(`${message}\n\n`));
          else answer = await again();
        }
      }
      if (answer && !answer.ok) throw new Error(`The server answered ${answer.status}.`);
    }
    controller.close();
  }

  async function listen(resource, options) {
    const again = () => plain(resource instanceof Request ? resource.clone() : resource, options);
    const first = await again();
    if (!first.ok || !first.body) return first;
    const body = new ReadableStream({
      start(controller) {
        copy(first, again, controller).catch((error) => {
          due.clear();
          controller.error(error);
        });
      },
    });
    return new Response(body, { status: first.status, headers: first.headers });
  }

  globalThis.fetch = (resource, options) => {
    const path = new URL(resource instanceof Request ? resource.url : resource, document.baseURI).pathname;
    if (path.endsWith("/queue/join")) return join(resource, options);
    if (path.endsWith("/queue/data")) return listen(resource, options);
    return plain(resource, options);
  };
})();
