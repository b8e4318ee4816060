// A customer's endpoint: a server that gives a set answer, and records the requests.

import { createServer } from 'node:http';

export async function startReceiver() {
  const receiver = {
    received: [],
    // The answer: [status, body], or a function that gets the response.
    answer: [200, 'OK'],
    url: null,
    stop: () => new Promise((done) => server.close(done).closeAllConnections()),
  };
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const { method, url: path, headers } = request;
    receiver.received.push({ method, path, headers, body: Buffer.concat(chunks) });
    if (typeof receiver.answer === 'function') return receiver.answer(response);
    const [status, body] = receiver.answer;
    response.writeHead(status, { 'content-type': 'text/html; charset=utf-8' }).end(body);
  });
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  receiver.url = `http://127.0.0.1:${server.address().port}/roboticks-webhook`;
  return receiver;
}
