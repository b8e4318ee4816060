// Example receivers that verify our requests, in several languages, for an integration's method and path.
//
// Each example verifies the signature of Standard Webhooks, which covers the time: a request that was recorded on its way is
// refused five minutes later. During a rotation the header contains two signatures, one made with each secret, so that a
// receiver keeps working with either. Each example refuses to run without a secret, since anybody can sign with an empty
// key; reads at most 1 MiB, far more than we send; and survives a request that is cut off.

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
import base64, hashlib, hmac, os, time
from flask import Flask, abort, request

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 1 << 20
SECRET = os.environ.get("WEBHOOK_SECRET", "")
KEY = base64.b64decode(SECRET[6:]) if SECRET.startswith("whsec_") else SECRET.encode()
if not KEY:
    raise SystemExit("WEBHOOK_SECRET is not set")

@app.route("${path}", methods=["${method}"])
def receive():
    body = request.get_data()  # the raw bytes, before any JSON parsing
    sent_at = request.headers.get("Webhook-Timestamp", 0, type=int)
    if abs(int(time.time()) - sent_at) > 300:
        abort(401)  # somebody may be replaying it
    signed = f'{request.headers.get("Webhook-Id")}.{sent_at}.'.encode() + body
    expected = b"v1," + base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest())
    given = request.headers.get("Webhook-Signature", "").encode().split()
    if not any(hmac.compare_digest(expected, value) for value in given):
        abort(401)
    event = request.get_json()
    print(event["event_type"], event["alert"]["id"])
    return "", 204
`;

const node = () => `import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const secret = process.env.WEBHOOK_SECRET ?? "";
const key = secret.startsWith("whsec_") ? Buffer.from(secret.slice(6), "base64") : Buffer.from(secret);
if (key.length === 0) throw new Error("WEBHOOK_SECRET is not set");

function isOurs(headers, body) {
  const { "webhook-id": id, "webhook-timestamp": sentAt, "webhook-signature": given = "" } = headers;
  const isRecent = Math.abs(Date.now() / 1000 - sentAt) < 300; // if not, somebody may be replaying it
  const mac = createHmac("sha256", key).update(\`\${id}.\${sentAt}.\`).update(body).digest("base64");
  const expected = Buffer.from("v1," + mac);
  const values = given.split(" ").map((value) => Buffer.from(value));
  return isRecent && values.some((value) => value.length === expected.length && timingSafeEqual(value, expected));
}

async function receive(request, response) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > 1 << 20) return response.writeHead(413, { connection: "close" }).end();
    chunks.push(chunk);
  }
  const body = Buffer.concat(chunks); // the raw bytes, before any JSON parsing
  if (!isOurs(request.headers, body)) return response.writeHead(401).end();
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
	"encoding/base64"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

var key = readKey(os.Getenv("WEBHOOK_SECRET"))

func readKey(secret string) []byte {
	encoded, isStandard := strings.CutPrefix(secret, "whsec_")
	if !isStandard {
		return []byte(secret)
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		log.Fatal("WEBHOOK_SECRET is not valid")
	}
	return key
}

func isOurs(header http.Header, body []byte) bool {
	id, sentAt := header.Get("Webhook-Id"), header.Get("Webhook-Timestamp")
	seconds, err := strconv.ParseInt(sentAt, 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return false // somebody may be replaying it
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + sentAt + "."))
	mac.Write(body)
	expected := []byte("v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	for _, given := range strings.Fields(header.Get("Webhook-Signature")) {
		if hmac.Equal([]byte(given), expected) {
			return true
		}
	}
	return false
}

func receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20)) // the raw bytes, before any JSON parsing
	if err != nil {
		http.Error(w, "cannot read the body", http.StatusBadRequest)
		return
	}
	if !isOurs(r.Header, body) {
		http.Error(w, "invalid signature", http.StatusUnauthorized)
		return
	}
	log.Println(r.Header.Get("X-Roboticks-Event"), string(body))
	w.WriteHeader(http.StatusNoContent)
}

func main() {
	if len(key) == 0 {
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
key = secret.start_with?("whsec_") ? secret[6..].unpack1("m") : secret
abort "WEBHOOK_SECRET is not set" if key.empty?

${method.toLowerCase()} "${path}" do
  body = request.body.read((1 << 20) + 1).to_s # the raw bytes, before any JSON parsing
  halt 413 if body.bytesize > 1 << 20
  id, sent_at, given = %w[ID TIMESTAMP SIGNATURE].map { |name| request.env["HTTP_WEBHOOK_#{name}"].to_s.b }
  halt 401 if (Time.now.to_i - sent_at.to_i).abs > 300 # somebody may be replaying it
  expected = "v1," + [OpenSSL::HMAC.digest("SHA256", key, "#{id}.#{sent_at}.".b + body.b)].pack("m0")
  halt 401 unless given.split.any? { |value| Rack::Utils.secure_compare(expected, value) }

  event = JSON.parse(body)
  puts "#{event["event_type"]} #{event["alert"]["id"]}"
  204
end
`;

const php = () => `<?php
$secret = (string) getenv("WEBHOOK_SECRET");
$key = str_starts_with($secret, "whsec_") ? base64_decode(substr($secret, 6)) : $secret;
if ($key === "") {
    error_log("WEBHOOK_SECRET is not set");
    http_response_code(500);
    exit;
}
$body = file_get_contents("php://input", false, null, 0, (1 << 20) + 1); // the raw bytes, before any JSON parsing
if ($body === false || strlen($body) > 1 << 20) {
    http_response_code(413);
    exit;
}
$id = $_SERVER["HTTP_WEBHOOK_ID"] ?? "";
$sentAt = $_SERVER["HTTP_WEBHOOK_TIMESTAMP"] ?? "";
$expected = "v1," . base64_encode(hash_hmac("sha256", "$id.$sentAt.$body", $key, true));
$given = explode(" ", $_SERVER["HTTP_WEBHOOK_SIGNATURE"] ?? "");
$isRecent = abs(time() - (int) $sentAt) <= 300; // if not, somebody may be replaying it
if (!$isRecent || !array_filter($given, fn ($value) => hash_equals($expected, $value))) {
    http_response_code(401);
    exit;
}
$event = json_decode($body, true);
error_log($event["event_type"] . " " . $event["alert"]["id"]);
http_response_code(204);
`;
