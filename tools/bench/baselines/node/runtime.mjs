// What the Lambda runtime for Node.js does around a handler: ask for the next event, call, answer, for ever.
//
// AWS's own client (npm: aws-lambda-ric) is not used: it compiles curl and a C++ library when it is installed, and needs cmake
// for that. It too makes its calls over one kept connection and hands JSON through.

import http from "node:http";
import path from "node:path";
import { pathToFileURL } from "node:url";

const { AWS_LAMBDA_RUNTIME_API, LAMBDA_TASK_ROOT, _HANDLER } = process.env;
const runtime = `http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime`;
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function call(method, at, body) {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) };
    const request = http.request(`${runtime}${at}`, { method, agent, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk) => (text += chunk));
      response.on("end", () => resolve({ headers: response.headers, text })).on("error", reject);
    });
    request.on("error", reject).end(body);
  });
}

function describe(error) {
  console.error(error);
  return JSON.stringify({ errorType: error.name, errorMessage: error.message, trace: error.stack?.split("\n") });
}

function contextOf(headers) {
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  return {
    awsRequestId: headers["lambda-runtime-aws-request-id"],
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
}

async function load() {
  const [file, name] = _HANDLER.split(".");
  return (await import(pathToFileURL(path.join(LAMBDA_TASK_ROOT, `${file}.mjs`))))[name];
}

const handler = await load().catch(async (error) => {
  await call("POST", "/init/error", describe(error));
  process.exit(1);
});

for (;;) {
  const next = await call("GET", "/invocation/next");
  const context = contextOf(next.headers);
  const [end, body] = await handler(JSON.parse(next.text), context).then(
    (answer) => ["response", JSON.stringify(answer)],
    (error) => ["error", describe(error)],
  );
  await call("POST", `/invocation/${context.awsRequestId}/${end}`, body);
}
