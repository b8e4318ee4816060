// Example receivers that verify our requests, in several languages, for an integration's method and path.
//
// Each example accepts either signature header: during a rotation the first is made with the new secret and the second
// with the old one, so that a receiver keeps working with either. Each refuses to run without a secret, since anybody can
// sign with an empty key; reads at most 1 MiB, far more than we send; and survives a request that is cut off.

export function examples({ method, url }) {
  const path = plainPath(url) ?? '/';
  return [
    ['Python', python(method, path)],
    ['Node.js', node()],
    ['Go', go(path)],
    ['Ruby', ruby(method, path)],
    ['PHP', php()],
  ];
}

// Whether the path in the examples is a placeholder that the reader has to replace.
export const isPathLeftOut = ({ url }) => plainPath(url) === null;

// The URL's path, unless it would need escaping in one of the languages or have a meaning to a router.
function plainPath(url) {
  const path = URL.canParse(url) ? new URL(url).pathname : '';
  return /^\/[\w\-.~/]*$/.test(path) ? path : null;
}

const python = (method, path) => `# pip install flask
import hashlib, hmac, os
from flask import Flask, abort, request

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 1 << 20
SECRET = os.environ.get("WEBHOOK_SECRET", "").encode()
if not SECRET:
    raise SystemExit("WEBHOOK_SECRET is not set")

@app.route("${path}", methods=["${method}"])
def receive():
    body = request.get_data()  # the raw bytes, before any JSON parsing
    expected = "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    given = [request.headers.get(name, "") for name in
             ("X-Roboticks-Signature", "X-Roboticks-Signature-Previous")]
    if not any(hmac.compare_digest(expected.encode(), value.encode()) for value in given):
        abort(401)
    event = request.get_json()
    print(event["event_type"], event["alert"]["id"])
    return "", 204
`;

const node = () => `import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const secret = process.env.WEBHOOK_SECRET;
if (!secret) throw new Error("WEBHOOK_SECRET is not set");
const names = ["x-roboticks-signature", "x-roboticks-signature-previous"];

async function receive(request, response) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > 1 << 20) return response.writeHead(413, { connection: "close" }).end();
    chunks.push(chunk);
  }
  const body = Buffer.concat(chunks); // the raw bytes, before any JSON parsing
  const expected = Buffer.from("sha256=" + createHmac("sha256", secret).update(body).digest("hex"));
  const given = names.map((name) => Buffer.from(request.headers[name] ?? ""));
  if (!given.some((value) => value.length === expected.length && timingSafeEqual(value, expected))) {
    return response.writeHead(401).end();
  }
  const event = JSON.parse(body);
  console.log(event.event_type, event.alert.id);
  response.writeHead(204).end();
}

createServer((request, response) => {
  receive(request, response).catch((error) => {
    console.error(error.message); // for example, the request was cut off
    if (!response.headersSent) response.writeHead(400);
    response.end();
  });
}).listen(process.env.PORT ?? 8080);
`;

const go = (path) => `package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log"
	"net/http"
	"os"
)

var secret = []byte(os.Getenv("WEBHOOK_SECRET"))

func receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20)) // the raw bytes, before any JSON parsing
	if err != nil {
		http.Error(w, "cannot read the body", http.StatusBadRequest)
		return
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write(body)
	expected := []byte("sha256=" + hex.EncodeToString(mac.Sum(nil)))
	if !hmac.Equal([]byte(r.Header.Get("X-Roboticks-Signature")), expected) &&
		!hmac.Equal([]byte(r.Header.Get("X-Roboticks-Signature-Previous")), expected) {
		http.Error(w, "invalid signature", http.StatusUnauthorized)
		return
	}
	log.Println(r.Header.Get("X-Roboticks-Event"), string(body))
	w.WriteHeader(http.StatusNoContent)
}

func main() {
	if len(secret) == 0 {
		log.Fatal("WEBHOOK_SECRET is not set")
	}
	http.HandleFunc("${path}", receive)
	log.Fatal(http.ListenAndServe(":8080", nil))
}
`;

const ruby = (method, path) => `# gem install sinatra rackup puma
require "json"
require "openssl"
require "sinatra"

secret = ENV["WEBHOOK_SECRET"].to_s
abort "WEBHOOK_SECRET is not set" if secret.empty?

${method.toLowerCase()} "${path}" do
  body = request.body.read((1 << 20) + 1).to_s # the raw bytes, before any JSON parsing
  halt 413 if body.bytesize > 1 << 20
  expected = "sha256=" + OpenSSL::HMAC.hexdigest("SHA256", secret, body)
  given = [request.env["HTTP_X_ROBOTICKS_SIGNATURE"], request.env["HTTP_X_ROBOTICKS_SIGNATURE_PREVIOUS"]]
  halt 401 unless given.any? { |value| Rack::Utils.secure_compare(expected, value.to_s) }

  event = JSON.parse(body)
  puts "#{event["event_type"]} #{event["alert"]["id"]}"
  204
end
`;

const php = () => `<?php
$secret = getenv("WEBHOOK_SECRET");
if ($secret === false || $secret === "") {
    error_log("WEBHOOK_SECRET is not set");
    http_response_code(500);
    exit;
}
$body = file_get_contents("php://input", false, null, 0, (1 << 20) + 1); // the raw bytes, before any JSON parsing
if ($body === false || strlen($body) > 1 << 20) {
    http_response_code(413);
    exit;
}
$expected = "sha256=" . hash_hmac("sha256", $body, $secret);
$valid = hash_equals($expected, $_SERVER["HTTP_X_ROBOTICKS_SIGNATURE"] ?? "")
    || hash_equals($expected, $_SERVER["HTTP_X_ROBOTICKS_SIGNATURE_PREVIOUS"] ?? "");
if (!$valid) {
    http_response_code(401);
    exit;
}
$event = json_decode($body, true);
error_log($event["event_type"] . " " . $event["alert"]["id"]);
http_response_code(204);
`;
