//! What one organization can ask of the API, and that no other notices when it asks for more.

use anyhow::Context;
use api::store::rate_limit::{CostlyRequest, RateLimit};
use api::store::token_bucket::TokenBuckets;
use domain::delivery::Record;
use futures_util::future::join_all;
use harness::api::{Api, Content, Response};
use harness::local_cloud::sdk_config;
use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::integrations::{assert_problem, create_integration};
use crate::recovery::failed_record;
use crate::testbed::{PATH, Testbed};

/// A kind of request, how many are admitted at once, and how long it takes until there is one more.
const KINDS: [(CostlyRequest, usize, SignedDuration); 4] = [
    (CostlyRequest::Test, 10, SignedDuration::from_secs(6)),
    (CostlyRequest::Change, 60, SignedDuration::from_secs(2)),
    (CostlyRequest::Send, 60, SignedDuration::from_secs(1)),
    (CostlyRequest::Search, 120, SignedDuration::from_millis(500)),
];

pub async fn each_kind_of_costly_request_has_its_own(testbed: Testbed) -> anyhow::Result<()> {
    let neighbour = Testbed::set_up(&testbed.stack).await?;
    let (api, neighbours_api) = (testbed.api().await?, neighbour.api().await?);
    let id = create_integration(&api, &json!({"name": "Pager", "url": testbed.receiver.url(PATH)})).await?;
    let neighbours =
        create_integration(&neighbours_api, &json!({"name": "N", "url": neighbour.receiver.url(PATH)})).await?;

    let dynamodb = aws_sdk_dynamodb::Client::new(&sdk_config(testbed.stack.endpoint()));
    let table = testbed.stack.output("IntegrationsTableName")?.to_owned();
    let limit = RateLimit::new(TokenBuckets::new(dynamodb, table));
    for (kind, at_once, every) in KINDS {
        for request in requests(kind) {
            let answer = request.make(&api, &id).await?;
            assert_ne!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{request:?}: {}", answer.text());
        }
        // A while ahead, so that nothing is added before the end of this journey.
        let then = Timestamp::now() + SignedDuration::from_mins(5);
        let flood = (0..at_once + 40).map(|_| limit.admit(testbed.organization, kind, then));
        let admitted = join_all(flood).await.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(admitted, at_once, "{kind:?}, all at once");
        let next = limit.admit(testbed.organization, kind, then + every).await;
        assert!(next.is_ok(), "{kind:?}: {next:?}");
        for request in requests(kind) {
            let refused = request.make(&api, &id).await?;
            assert_problem(&refused, StatusCode::TOO_MANY_REQUESTS, &[])?;
            let seconds: u64 = refused.header("retry-after").context("no Retry-After")?.parse()?;
            assert!((200..=312).contains(&seconds), "{seconds}");
            let detail = refused.json()?["detail"].as_str().unwrap_or_default().to_owned();
            let limit = format!("{at_once} ");
            assert!(detail.contains(&limit) && detail.contains(&format!("Try again in {seconds} s.")), "{detail}");
            let answer = request.make(&neighbours_api, &neighbours).await?;
            assert_ne!(answer.status, StatusCode::TOO_MANY_REQUESTS, "another organization: {}", answer.text());
        }
    }
    // Everything costly is refused by now. What is not still works.
    api.list().await?;
    api.deliveries(&id, "limit=1").await?;
    api.delete(&id).await
}

/// How many deliveries a log has that is too long for one request.
const LOGGED: u64 = 200;

/// A request of the API about an integration.
#[derive(Debug)]
struct Request {
    method: Method,
    /// Behind `/integrations/{id}`; `None` for `/integrations` itself.
    path: Option<&'static str>,
    body: Value,
}

impl Request {
    async fn make(&self, api: &Api, id: &str) -> anyhow::Result<Response> {
        let path = self.path.map_or("/integrations".to_owned(), |path| format!("/integrations/{id}{path}"));
        let content = if self.body.is_null() { Content::none() } else { Content::json(&self.body) };
        api.call(self.method.clone(), &path, content).await
    }
}

/// The requests of a kind. Those that find nothing count too.
fn requests(kind: CostlyRequest) -> Vec<Request> {
    let request = |method, path, body| Request { method, path, body };
    match kind {
        CostlyRequest::Test => vec![request(Method::POST, Some("/test"), Value::Null)],
        CostlyRequest::Change => vec![
            request(Method::POST, None, json!({"name": "Other", "url": "http://127.0.0.1:1024/canary"})),
            request(Method::PATCH, Some(""), json!({"name": "Renamed"})),
            request(Method::POST, Some("/rotate-secret"), json!({"replace_previous": true})),
        ],
        CostlyRequest::Send => vec![
            request(Method::POST, Some("/recover"), json!({})),
            request(Method::POST, Some("/deliveries/dlv_01JH7VVHV81KJMEKY94GFHBBTY/redeliver"), Value::Null),
        ],
        CostlyRequest::Search => vec![
            request(Method::GET, Some("/deliveries?alert_id=5"), Value::Null),
            request(Method::POST, Some("/recover"), json!({"dry_run": true})),
        ],
    }
}

/// However long the log is, a request examines a part of it that costs a few hundred read units.
pub async fn one_log_request_reads_a_megabyte(testbed: Testbed) -> anyhow::Result<()> {
    let api = testbed.api().await?;
    let id = create_integration(&api, &json!({"name": "Pager", "url": testbed.receiver.url(PATH)})).await?;
    let integration = testbed.stack.find_integration(testbed.organization, &id).await?;
    let an_hour_ago = Timestamp::now() - SignedDuration::from_hours(1);
    for number in 0..LOGGED {
        let record = failed_record(&testbed, &integration, number, an_hour_ago);
        testbed.stack.put_record(Record { payload: Some(vec![7; 19_000].into()), ..record }).await?;
    }
    for query in ["alert_id=424242", "alert_id=424242&status=failed"] {
        let page = api.deliveries(&id, query).await?;
        assert_eq!(page["items"], json!([]), "{query}");
        assert!(page["next_cursor"].is_string(), "{query}: it ended early");
        assert_eq!(api.all_deliveries(&id, query).await?, [] as [Value; 0], "{query}");
    }
    let mut counts = Vec::new();
    let mut request = json!({"dry_run": true});
    loop {
        let counted = api.recover(&id, &request).await?;
        counts.push(counted["count"].as_u64().context("no count")?);
        let cursor = &counted["next_cursor"];
        if cursor.is_null() {
            break;
        }
        request = json!({"dry_run": true, "cursor": cursor});
    }
    assert_eq!(counts.iter().sum::<u64>(), LOGGED);
    // Each takes five units: 25 at a time, until it is more than 256.
    assert_eq!(counts, [75, 75, 50]);
    Ok(())
}
