//! The settings page: serves the files of `console/` from the API's own origin, with security headers.
//!
//! There is no build step. The page refers to its files under a version, the hash of them all, so that a browser can
//! cache them forever and requests only the page itself again; a new version has new addresses.

use std::sync::Arc;

use aws::environment::{Environment, InvalidSetting};
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderName, StatusCode, Uri};
use sha2::{Digest, Sha256};

use crate::http::problem::Problem;

/// A file of the page.
struct File {
    /// Relative to `console/`, and to the version in its address.
    path: &'static str,
    media_type: &'static str,
    text: &'static str,
}

macro_rules! files {
    ($($media_type:literal: $($path:literal)*;)*) => {
        [$($(File {
            path: $path,
            media_type: $media_type,
            text: include_str!(concat!("../console/", $path)),
        },)*)*]
    };
}

/// The page itself; the placeholders in braces are filled in.
const INDEX: &str = include_str!("../console/index.html");

const FILES: &[File] = &files! {
    "text/css; charset=utf-8": "style.css";
    "image/svg+xml": "icon.svg";
    "text/plain; charset=utf-8": "vendor/LICENSES.txt";
    "text/javascript; charset=utf-8":
        "main.js" "address.js" "clock.js" "focus.js" "html.js" "use_task.js" "polling.js" "format.js" "components.js"
        "sign_in.js" "api.js" "cache.js" "refresh_delay.js" "recovery.js" "draft.js" "saved_draft.js" "json_text.js"
        "curl.js" "verification.js"
        "views/welcome.js" "views/integrations.js" "views/integration.js" "views/integration_form.js"
        "views/signing_secret.js" "views/rotate_secret.js" "views/test_result.js" "views/log.js" "views/recover.js"
        "views/delivery.js"
        "vendor/preact.js" "vendor/hooks.js" "vendor/htm.js";
};

/// For the page, so that the browser's Back button never shows one that was left.
const NEVER_CACHED: HeaderValue = HeaderValue::from_static("no-store");
const REVALIDATED: HeaderValue = HeaderValue::from_static("no-cache");
/// For the page's files, whose addresses change with them.
const CACHED_FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// Headers of every response: no framing, no guessing of media types, no referrer.
const SAFETY: [(HeaderName, HeaderValue); 6] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=63072000")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// Where users of the page sign in.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// The issuer; its OpenID Connect discovery document is below this URL.
    issuer: Url,
    /// The OAuth client id of the page, a public client.
    client_id: String,
    /// Origins that the page may connect to besides its own and what is below the issuer: the token endpoint's, unless
    /// it is there.
    origins: Vec<Url>,
}

/// A URL without characters that could end an HTML attribute, a header or a source list of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Url {
    text: String,
    origin: String,
    path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum InvalidUrl {
    #[error("must be an http:// or https:// URL")]
    NotHttp,
    #[error("must not contain quotation marks, semicolons, commas or other characters that need percent-encoding")]
    Character,
}

impl std::str::FromStr for Url {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let plain = |char: char| char.is_ascii_alphanumeric() || "-._~:/?#[]@!$()*+=%".contains(char);
        if !text.chars().all(plain) {
            return Err(InvalidUrl::Character);
        }
        let uri: Uri = text.parse().map_err(|_| InvalidUrl::NotHttp)?;
        let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(InvalidUrl::NotHttp);
        };
        Ok(Self { origin: format!("{scheme}://{authority}"), path: uri.path().to_owned(), text: text.to_owned() })
    }
}

impl SignIn {
    /// # Errors
    /// [`InvalidSetting`] for the first variable that is missing or invalid.
    pub fn read(environment: &Environment<'_>) -> Result<Self, InvalidSetting> {
        let origins: String = environment.parsed("SIGN_IN_ORIGINS")?;
        let origins = origins.split_whitespace().map(|origin| {
            origin.parse().map_err(|refused: InvalidUrl| InvalidSetting::Unusable {
                name: "SIGN_IN_ORIGINS",
                problem: refused.to_string(),
            })
        });
        Ok(Self {
            issuer: environment.parsed("SIGN_IN_ISSUER_URL")?,
            client_id: environment.text("SIGN_IN_CLIENT_ID")?,
            origins: origins.collect::<Result<_, _>>()?,
        })
    }

    fn discovery(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.issuer.text.trim_end_matches('/'))
    }

    /// What is below the issuer, as a source for the policy. Cognito has the user pools of all accounts in a region at
    /// one host, so the origin alone would let the page connect to anybody's. A path that ends with a slash matches what
    /// is below it.
    fn issuer_source(&self) -> String {
        format!("{}{}/", self.issuer.origin, self.issuer.path.trim_end_matches('/'))
    }

    /// Scripts, styles and images come from this origin only, never inline, and no script can turn text into markup.
    fn policy(&self) -> String {
        let issuer = self.issuer_source();
        let mut sources = vec!["'self'", issuer.as_str()];
        sources.extend(self.origins.iter().map(|url| url.origin.as_str()));
        format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src {}; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
            sources.join(" ")
        )
    }
}

/// The page, ready to be served.
struct Console {
    version: String,
    index: String,
    policy: HeaderValue,
}

impl Console {
    fn new(sign_in: &SignIn) -> Self {
        let version = version();
        let index = INDEX
            .replace("{version}", &version)
            .replace("{discovery}", &sign_in.discovery())
            .replace("{client}", &attribute(&sign_in.client_id));
        let policy = HeaderValue::try_from(sign_in.policy()).expect("a `Url` has only visible ASCII");
        Self { version, index, policy }
    }

    fn index(&self, request: &HeaderMap) -> Response {
        self.answer(request, "text/html; charset=utf-8", &self.index, NEVER_CACHED)
    }

    /// A file requested under another version is served in the current one, for pages opened just before a deployment,
    /// but is not cached.
    fn file(&self, version: &str, path: &str, request: &HeaderMap) -> Response {
        let Some(file) = FILES.iter().find(|file| file.path == path) else {
            return Problem::NotFound.into_response();
        };
        let cache = if version == self.version { CACHED_FOREVER } else { REVALIDATED };
        self.answer(request, file.media_type, file.text, cache)
    }

    fn answer(&self, request: &HeaderMap, media_type: &'static str, text: &str, cache: HeaderValue) -> Response {
        let tag = format!("\"{}\"", fingerprint([text]));
        let mut headers = HeaderMap::from_iter(SAFETY);
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        headers.insert(CACHE_CONTROL, cache);
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        // Weak: it stands for the compressed text as well.
        headers.insert(ETAG, HeaderValue::try_from(format!("W/{tag}")).expect("hexadecimal digits"));
        if is_current(request, &tag) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        (headers, text.to_owned()).into_response()
    }
}

/// `GET /` and `GET /console/…`, which need no token.
pub fn routes(sign_in: &SignIn) -> Router {
    let index = async |State(console): State<Arc<Console>>, request: HeaderMap| console.index(&request);
    let file = async |State(console): State<Arc<Console>>,
                      Path((version, path)): Path<(String, String)>,
                      request: HeaderMap| console.file(&version, &path, &request);
    Router::new()
        .route("/", get(index))
        .route("/console/{version}/{*path}", get(file))
        .with_state(Arc::new(Console::new(sign_in)))
}

fn version() -> String {
    fingerprint(std::iter::once(INDEX).chain(FILES.iter().map(|file| file.text)))
}

fn fingerprint<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(text.len().to_be_bytes());
        hash.update(text);
    }
    hex::encode(&hash.finalize()[..8])
}

fn is_current(request: &HeaderMap, tag: &str) -> bool {
    let tags = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    tags.flat_map(|list| list.split(',')).any(|known| known.trim().trim_start_matches("W/") == tag)
}

fn attribute(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use std::path::Path as FilePath;
    use std::{fs, io};

    use flate2::Compression;
    use flate2::read::GzEncoder;
    use http::header::HeaderName;

    use super::*;

    const ISSUER: &str = "https://issuer.example/pool";

    fn read(issuer: &str, client: &str, origins: &str) -> Result<SignIn, InvalidSetting> {
        let look_up = |name: &str| {
            let value = match name {
                "SIGN_IN_ISSUER_URL" => issuer,
                "SIGN_IN_CLIENT_ID" => client,
                "SIGN_IN_ORIGINS" => origins,
                _ => return None,
            };
            Some(value.to_owned())
        };
        SignIn::read(&Environment::new(&look_up))
    }

    fn console() -> Console {
        Console::new(&read(ISSUER, "client", "https://login.example").expect("the settings are valid"))
    }

    fn asking(header: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header, HeaderValue::from_str(value).expect("a test header is valid"))])
    }

    fn header(response: &Response, name: HeaderName) -> &str {
        response.headers().get(name).map_or("", |value| value.to_str().expect("ours are text"))
    }

    /// All paths below `console/`, in any order.
    fn on_disk() -> Vec<String> {
        let root = FilePath::new(concat!(env!("CARGO_MANIFEST_DIR"), "/console"));
        let mut folders = vec![root.to_path_buf()];
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("the folder is there") {
                let path = entry.expect("it can be read").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(path.strip_prefix(root).expect("below it").to_string_lossy().into_owned());
                }
            }
        }
        found
    }

    #[test]
    fn every_file_is_served_and_every_module_is_preloaded() {
        for path in on_disk() {
            if path == "index.html" {
                continue;
            }
            assert!(FILES.iter().any(|file| file.path == path), "{path} is not in FILES");
            if path.ends_with(".js") {
                assert!(INDEX.contains(&format!("\"console/{{version}}/{path}\"")), "index.html does not name {path}");
            }
        }
    }

    fn compressed_size(text: &str) -> u64 {
        io::copy(&mut GzEncoder::new(text.as_bytes(), Compression::default()), &mut io::sink())
            .expect("memory does not fail")
    }

    #[test]
    fn the_whole_page_is_small() {
        let texts = FILES.iter().filter(|file| file.path != "vendor/LICENSES.txt").map(|file| file.text);
        let size: u64 = texts.chain([INDEX]).map(compressed_size).sum();
        assert!(size < 70_000, "{size} bytes");
    }

    #[test]
    fn the_page_has_nothing_inline_and_names_its_settings() {
        let index = console().index;
        for inline in ["<style", " style=", "<script>", " onclick", "javascript:", "{"] {
            assert!(!index.contains(inline), "{inline}");
        }
        assert!(index.contains("content=\"https://issuer.example/pool/.well-known/openid-configuration\""));
        assert!(index.contains("content=\"client\""));
        let slash = Console::new(&read("https://issuer.example/pool/", "client", "").expect("the settings are valid"));
        assert_eq!(slash.index, index);
        let hostile = Console::new(&read(ISSUER, "\"><script>", "").expect("a client id may be any text"));
        assert!(hostile.index.contains("content=\"&quot;>&lt;script>\""));
    }

    #[test]
    fn every_answer_is_safe() {
        let console = console();
        let nothing = HeaderMap::new();
        for response in [console.index(&nothing), console.file(&console.version, "main.js", &nothing)] {
            let policy = header(&response, CONTENT_SECURITY_POLICY);
            assert!(policy.contains("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
            assert!(
                policy.contains("connect-src 'self' https://issuer.example/pool/ https://login.example;"),
                "{policy}"
            );
            assert!(!policy.contains("unsafe"), "{policy}");
            assert_eq!(header(&response, X_CONTENT_TYPE_OPTIONS), "nosniff");
            assert_eq!(header(&response, REFERRER_POLICY), "no-referrer");
        }
    }

    #[track_caller]
    fn check_issuer_source(issuer: &str, expected: &str) {
        assert_eq!(read(issuer, "client", "").expect("the settings are valid").issuer_source(), expected);
    }

    #[test]
    fn the_page_connects_to_what_is_below_the_issuer_only() {
        let pool = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Pool";
        check_issuer_source(pool, "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Pool/");
        check_issuer_source("https://issuer.example", "https://issuer.example/");
        check_issuer_source("https://issuer.example/", "https://issuer.example/");
        check_issuer_source("https://issuer.example:8443/a/b//?c#d", "https://issuer.example:8443/a/b/");
    }

    #[test]
    fn files_are_cached_forever_under_their_own_version_only() {
        let console = console();
        let nothing = HeaderMap::new();
        let current = console.file(&console.version, "views/log.js", &nothing);
        assert_eq!(current.status(), StatusCode::OK);
        assert_eq!(header(&current, CACHE_CONTROL), "public, max-age=31536000, immutable");
        assert_eq!(header(&current, CONTENT_TYPE), "text/javascript; charset=utf-8");
        assert_eq!(header(&console.file("older", "views/log.js", &nothing), CACHE_CONTROL), "no-cache");
        assert_eq!(header(&console.index(&nothing), CACHE_CONTROL), "no-store");
        for path in ["", "log.js", "../Cargo.toml", "views/../main.js", "index.html"] {
            assert_eq!(console.file(&console.version, path, &nothing).status(), StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[test]
    fn what_the_browser_has_is_not_sent_again() {
        let console = console();
        let tag = header(&console.index(&HeaderMap::new()), ETAG).to_owned();
        for (known, status) in [
            (tag.clone(), StatusCode::NOT_MODIFIED),
            (format!("\"x\", {tag}"), StatusCode::NOT_MODIFIED),
            (tag.replace("W/", ""), StatusCode::NOT_MODIFIED),
            ("\"x\"".to_owned(), StatusCode::OK),
        ] {
            assert_eq!(console.index(&asking(IF_NONE_MATCH, &known)).status(), status, "{known}");
        }
    }

    #[track_caller]
    fn check_refused(issuer: &str, client: &str, origins: &str, name: &str) {
        let error = read(issuer, client, origins).map(|_| ()).expect_err("it is invalid").to_string();
        assert!(error.contains(name), "{error}");
    }

    #[test]
    fn invalid_settings_are_refused_by_name() {
        check_refused("ftp://issuer.example/", "client", "", "SIGN_IN_ISSUER_URL");
        check_refused("issuer", "client", "", "SIGN_IN_ISSUER_URL");
        check_refused("https://issuer.example/\"", "client", "", "SIGN_IN_ISSUER_URL");
        check_refused(ISSUER, "", "", "SIGN_IN_CLIENT_ID");
        check_refused(ISSUER, "client", "https://a.example https://b;script-src", "SIGN_IN_ORIGINS");
        check_refused(ISSUER, "client", "*", "SIGN_IN_ORIGINS");
    }
}
