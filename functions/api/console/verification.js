// Code that verifies a request of ours, in several languages, for an integration's method and path.
//
// Each example accepts either signature header: during a rotation the first is the new secret's and the second the old
// one's, so that a receiver keeps working whichever of the two it holds.

export function examples({ method, url }) {
  const path = plainPath(url);
  return [
    ['Python', python(method, path)],
    ['Node.js', node()],
    ['Go', go(path)],
    ['Ruby', ruby(method, path)],
    ['PHP', php()],
  ];
}

// The URL's path where it can stand in any language's quotes as it is.
function plainPath(url) {
  const path = URL.canParse(url) ? new URL(url).pathname : '/';
  return /^\/[\w\-.~/]*$/.test(path) ? path : '/';
}

const python = (method, path) => `# pip install flask
import hashlib, hmac, os
from flask import Flask, abort, request

app = Flask(__name__)
SECRET = os.environb[b"WEBHOOK_SECRET"]

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
const names = ["x-roboticks-signature", "x-roboticks-signature-previous"];

createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks); // the raw bytes, before any JSON parsing
  const expected = Buffer.from("sha256=" + createHmac("sha256", secret).update(body).digest("hex"));
  const given = names.map((name) => Buffer.from(request.headers[name] ?? ""));
  if (!given.some((value) => value.length === expected.length && timingSafeEqual(value, expected))) {
    return response.writeHead(401).end();
  }
  const event = JSON.parse(body);
  console.log(event.event_type, event.alert.id);
  response.writeHead(204).end();
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

func receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20)) // the raw bytes, before any JSON parsing
	if err != nil {
		http.Error(w, "cannot read the body", http.StatusBadRequest)
		return
	}
	mac := hmac.New(sha256.New, []byte(os.Getenv("WEBHOOK_SECRET")))
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
	http.HandleFunc("${path}", receive)
	log.Fatal(http.ListenAndServe(":8080", nil))
}
`;

const ruby = (method, path) => `# gem install sinatra rackup puma
require "json"
require "openssl"
require "sinatra"

${method.toLowerCase()} "${path}" do
  body = request.body.read # the raw bytes, before any JSON parsing
  expected = "sha256=" + OpenSSL::HMAC.hexdigest("SHA256", ENV.fetch("WEBHOOK_SECRET"), body)
  given = [request.env["HTTP_X_ROBOTICKS_SIGNATURE"], request.env["HTTP_X_ROBOTICKS_SIGNATURE_PREVIOUS"]]
  halt 401 unless given.any? { |value| Rack::Utils.secure_compare(expected, value.to_s) }

  event = JSON.parse(body)
  puts "#{event["event_type"]} #{event["alert"]["id"]}"
  204
end
`;

const php = () => `<?php
$secret = getenv("WEBHOOK_SECRET");
$body = file_get_contents("php://input"); // the raw bytes, before any JSON parsing
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
