//! The least that a sender can do: reads alert events, signs them, and posts them with the HTTP client that `deliver`
//! uses. No ledger, no checks, no AWS.
//!
//! `floor URL SECRET` reads alert events from its standard input, each behind a line with its length in bytes, and
//! sends at once all that came before a length of zero. When all of them are answered it writes a line.

use bytes::Bytes;
use domain::alert::event::AlertEvent;
use domain::endpoint::headers::CustomerHeaders;
use domain::ids::{DeliveryId, IntegrationId};
use domain::request::signature::{SigningSecret, SigningSecrets};
use domain::request::{Occasion, Subject, headers};
use futures_util::future::join_all;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let [url, secret] = std::env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "floor URL SECRET")?;
    let http = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let secrets = SigningSecrets { current: SigningSecret::parse_new(&secret)?, previous: None };
    let mut input = BufReader::new(tokio::io::stdin());
    let mut answered = tokio::io::stdout();
    let mut group = Vec::new();
    let mut length = String::new();
    while input.read_line(&mut length).await? > 0 {
        let bytes: usize = length.trim().parse()?;
        length.clear();
        if bytes > 0 {
            let mut body = vec![0; bytes];
            input.read_exact(&mut body).await?;
            group.push(String::from_utf8(body)?);
            continue;
        }
        let sent = join_all(group.drain(..).map(|body| send(&http, &url, &secrets, body))).await;
        sent.into_iter().collect::<Result<(), _>>()?;
        answered.write_all(b"\n").await?;
        answered.flush().await?;
    }
    Ok(())
}

async fn send(
    http: &Client<HttpConnector, Full<Bytes>>,
    url: &str,
    secrets: &SigningSecrets,
    body: String,
) -> Result<(), Failure> {
    let event = AlertEvent::parse(&body)?;
    let integration = IntegrationId::new(event.timestamp, [0; 10]);
    let delivery = DeliveryId::of_alert(event.organization_id, integration, event.timestamp, body.as_bytes());
    let (occasion, sent_at) = (Occasion::Alert, Timestamp::now());
    let subject = Subject { occasion, event_type: event.event_type, delivery, attempt: 1, sent_at };
    let body = Bytes::from(body);
    let mut request = Request::post(url).body(Full::new(body.clone()))?;
    *request.headers_mut() = headers(&subject, &body, &CustomerHeaders::default(), Some(secrets));
    let response = http.request(request).await?;
    if !response.status().is_success() {
        return Err(format!("answered {}", response.status()).into());
    }
    response.into_body().collect().await?;
    Ok(())
}
