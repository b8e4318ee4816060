//! One token's requests of the API at full speed, with names that never resolve, beside other organizations' alerts.
//!
//! Of AWS there are the routes' throttles and the account's concurrency; the API's sandboxes are there already, since on
//! Lambda starting them takes nobody else's processors. API Gateway's work is not done by anyone here.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use domain::integration::Integration;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::Method;
use hyper::body::Bytes;
use serde_json::{Value, json};
use support::function::Function;
use tokio::process::Command;
use tokio::time::Instant;

use super::comparison::{Attack, Condition, Sample};
use super::deployment::{Deployment, Expected, delivery_id, repeat, wait_for_arrivals};
use crate::alerts::Alerts;
use crate::aws::{Aws, Tally};
use crate::cost::Invocation;
use crate::endpoint::Behavior;
use crate::prices as price;
use crate::testbed::{SECRET, Testbed, item};
use crate::worker::{Program, Worker};

/// How many alerts are timed a second, one by one, and for how long: two rounds have 14 delays beyond the 99th percentile.
pub const ALERTS_PER_SECOND: u32 = 20;
const MEASURED_FOR: Duration = Duration::from_secs(35);
const WARM_UP: Duration = Duration::from_secs(10);
const ARRIVES_WITHIN: Duration = Duration::from_secs(5);

/// How often the attacker makes a request.
const ATTACKED_EVERY: Duration = Duration::from_millis(5);

/// How many organizations get alerts; the one behind is the attacker's.
const ORGANIZATIONS: u64 = 10;
const ATTACKER: u64 = ORGANIZATIONS + 1;

/// A loopback address of which nothing else uses port 53, the only one that the system's resolver asks.
const NAME_SERVER: &str = "127.53.53.53";

/// As many sandboxes as the attacked routes can use at once, by their throttles and the longest time of a request.
const SANDBOXES: usize = 160;

pub(super) async fn measure(testbed: &Testbed, condition: Condition) -> Result<Sample> {
    testbed.endpoint.set_behavior(Behavior::ACCEPTS);
    let owners = (1..=ORGANIZATIONS).map(|organization| (organization, testbed.endpoint.url()));
    let integrations = testbed.set_organizations(owners.chain([(ATTACKER, "https://hangs.example/".to_owned())]));
    let (attackers, integrations) = integrations.split_last().context("there are integrations")?;
    let api = Api::start(testbed, attackers).await?;
    let deployment = Deployment::start(testbed).await?;
    let mut alerts = Alerts::new()?;
    let mut send = async |time| -> Result<Vec<Expected>> {
        let (mut expected, mut next) = (Vec::new(), integrations.iter().cycle());
        repeat(Duration::from_secs(1) / ALERTS_PER_SECOND, time, || {
            let integration = next.next().context("there are integrations")?;
            let body = alerts.of_organization(integration.organization_id.get());
            expected.push(Expected { delivery: delivery_id(&body, integration)?, sent: Instant::now() });
            deployment.alerts.send([body], Duration::ZERO);
            Ok(())
        })
        .await?;
        Ok(expected)
    };
    deployment
        .run_during(async {
            let warm_up = send(WARM_UP).await?;
            wait_for_arrivals(&testbed.endpoint, warm_up, ARRIVES_WITHIN).await?;
            let begun = Instant::now();
            let attacking =
                async { if condition == Condition::ApiFlooded { api.attack().await.map(Some) } else { Ok(None) } };
            let sending = async {
                let expected = send(MEASURED_FOR).await?;
                let alerts = expected.len();
                Ok((wait_for_arrivals(&testbed.endpoint, expected, ARRIVES_WITHIN).await?, alerts))
            };
            let ((arrival_ms, alerts), attack) = tokio::try_join!(sending, attacking)?;
            Ok(Sample { arrival_ms, deliver: deployment.alerts.run_time_since(begun), alerts, attack })
        })
        .await
}

/// A request of the attacker, and what API Gateway still admits of its kind.
struct Route {
    throttle: Throttle,
    method: Method,
    path: String,
    body: Value,
}

/// A token bucket, as API Gateway has one for each route.
struct Throttle {
    per_second: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl Throttle {
    fn admit(&mut self, now: Instant) -> bool {
        self.tokens = (self.tokens + (now - self.at).as_secs_f64() * self.per_second).min(self.burst);
        self.at = now;
        let admitted = self.tokens >= 1.0;
        if admitted {
            self.tokens -= 1.0;
        }
        admitted
    }
}

/// The API's sandboxes, with an AWS of their own so that what they use is counted by itself.
struct Api<'a> {
    testbed: &'a Testbed,
    aws: Aws,
    sandboxes: Vec<Worker>,
    integration: &'a Integration,
    _name_server: UdpSocket,
}

/// A request that has been answered.
struct Answered<'a> {
    sandbox: &'a Worker,
    began: Instant,
    status: u64,
    invocation: Invocation,
}

impl<'a> Api<'a> {
    async fn start(testbed: &'a Testbed, integration: &'a Integration) -> Result<Self> {
        let may = Command::new("unshare").args(["--mount", "true"]).status().await;
        ensure!(
            may.is_ok_and(|status| status.success()),
            "names that hang need a mount namespace for /etc/resolv.conf: run this part as root, where `unshare` may make one"
        );
        let name_server = UdpSocket::bind((NAME_SERVER, 53)).with_context(|| format!("{NAME_SERVER}:53 is taken"))?;
        let resolv_conf = testbed.project.root().join("target/bench-resolv.conf");
        std::fs::write(&resolv_conf, format!("nameserver {NAME_SERVER}\n"))?;
        let aws = Aws::start(&testbed.template, SECRET).await?;
        aws.set_latency(Duration::from_secs_f64(price::AWS_CALL_SECONDS));
        aws.put("IntegrationsTable", item(integration));
        let api = testbed.function(Function::Api)?;
        let mut environment = api.environment;
        environment.insert("AWS_ENDPOINT_URL".to_owned(), aws.url());
        let bind = r#"mount --bind "$0" /etc/resolv.conf && exec "$1""#;
        let [conf, bootstrap] = [&resolv_conf, &api.executable].map(|path| path.display().to_string());
        let arguments = ["--mount", "sh", "-c", bind].map(str::to_owned).into_iter().chain([conf, bootstrap]).collect();
        let program = Program { executable: "unshare".into(), arguments, environment, ..api };
        let mut sandboxes = Vec::with_capacity(SANDBOXES);
        for _ in 0..SANDBOXES {
            sandboxes.push(Worker::start(&program).await?);
        }
        Ok(Self { testbed, aws, sandboxes, integration, _name_server: name_server })
    }

    fn routes(&self) -> [Route; 4] {
        let settings = &self.testbed.template.properties("HttpApiStage")["RouteSettings"];
        let now = Instant::now();
        let route = |key: &str, body| {
            let limit = |name: &str| settings[key][name].as_f64().expect("the route has a throttle");
            let (per_second, burst) = (limit("ThrottlingRateLimit"), limit("ThrottlingBurstLimit"));
            let (method, path) = key.split_once(' ').expect("a route has a method and a path");
            Route {
                throttle: Throttle { per_second, burst, tokens: burst, at: now },
                method: method.parse().expect("it is a method"),
                path: path.replace("{id}", &self.integration.id.to_string()),
                body,
            }
        };
        [
            route(
                "POST /integrations",
                json!({ "name": "a", "url": "https://hangs.example/", "generate_signing_secret": true }),
            ),
            route("PATCH /integrations/{id}", json!({ "url": "https://hangs-too.example/" })),
            route("POST /integrations/{id}/rotate-secret", json!({ "replace_previous": true })),
            route("POST /integrations/{id}/test", Value::Null),
        ]
    }

    /// Makes requests for as long as alerts are timed, and waits for the last answers.
    async fn attack(&self) -> Result<Attack> {
        let mut attack = Attack::default();
        let mut routes = self.routes();
        let mut free: Vec<_> = self.sandboxes.iter().collect();
        let mut running = FuturesUnordered::new();
        let (began, mut answered) = (Instant::now(), Vec::new());
        let mut ticks = tokio::time::interval(ATTACKED_EVERY);
        let mut before_half = None;
        while began.elapsed() < MEASURED_FOR {
            tokio::select! {
                _ = ticks.tick() => {
                    let route = &mut routes[attack.requests as usize % 4];
                    attack.requests += 1;
                    if !route.throttle.admit(Instant::now()) {
                        attack.refused_by_throttles += 1;
                        continue;
                    }
                    let sandbox = free.pop().context("the routes use more concurrency than their throttles should allow")?;
                    running.push(self.invoke(sandbox, event(route)));
                    attack.most_at_once = attack.most_at_once.max(running.len());
                }
                Some(ended) = running.next() => {
                    let ended: Answered<'_> = ended?;
                    free.push(ended.sandbox);
                    answered.push(ended);
                }
            }
            if before_half.is_none() && began.elapsed() > MEASURED_FOR / 2 {
                before_half = Some((Instant::now(), attack.requests));
                self.aws.take_tally()?;
            }
        }
        while let Some(ended) = running.next().await {
            answered.push(ended?);
        }
        let (half, requests_before) = before_half.context("there is a second half")?;
        for Answered { status, .. } in &answered {
            *attack.answers.entry(*status).or_default() += 1;
        }
        let later: Vec<_> = answered.iter().filter(|it| it.began >= half).map(|it| it.invocation).collect();
        let dollars = self.dollars(&later, &self.aws.take_tally()?, attack.requests - requests_before);
        attack.dollars_an_hour = dollars * 3_600.0 / (MEASURED_FOR / 2).as_secs_f64();
        Ok(attack)
    }

    async fn invoke(&self, sandbox: &'a Worker, event: Bytes) -> Result<Answered<'a>> {
        let began = Instant::now();
        let _running = self.testbed.account.acquire().await?;
        let answer = sandbox.invoke(event).await?;
        let response: Value = serde_json::from_slice(&answer.body)?;
        let status = response["statusCode"].as_u64().context("an answer has a status")?;
        let duration = answer.ended - answer.started;
        // The time of its AWS calls is in its duration.
        let invocation = Invocation { duration, cpu: answer.cpu, messages: 1, payload: 0, calls_in_a_row: 0 };
        Ok(Answered { sandbox, began, status, invocation })
    }

    fn dollars(&self, invocations: &[Invocation], calls: &Tally, requests: u64) -> f64 {
        let memory_mb = self.testbed.memory_mb(Function::Api);
        let seconds: f64 = invocations.iter().map(|invocation| invocation.billed_seconds(memory_mb)).sum();
        let count = invocations.len() as f64;
        let kms = calls.of("Decrypt").count + calls.of("GenerateDataKey").count;
        let lines = requests * (price::ACCESS_LINE_BYTES + price::LOGS_LINE_OVERHEAD);
        let lambda_lines = price::LAMBDA_LINES_BYTES + price::LAMBDA_LINES * price::LOGS_LINE_OVERHEAD;
        count * (price::LAMBDA_REQUEST + price::HTTP_API_REQUEST)
            + seconds * memory_mb / 1024.0 * price::LAMBDA_GB_SECOND
            + calls.write_units() as f64 * price::DYNAMODB_WRITE_UNIT
            + calls.read_units() * price::DYNAMODB_READ_UNIT
            + kms as f64 * price::KMS_REQUEST
            + (lines as f64 + count * lambda_lines as f64) / price::GB * price::LOGS_GB
    }
}

/// The event in which API Gateway passes a request on.
fn event(route: &Route) -> Bytes {
    let Route { method, path, body, .. } = route;
    let body = if body.is_null() { Value::Null } else { Value::String(body.to_string()) };
    let event = json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "", "isBase64Encoded": false,
        "headers": {"content-type": "application/json"}, "body": body,
        "requestContext": {
            "accountId": "000000000000", "apiId": "api", "domainName": "localhost", "requestId": "request",
            "routeKey": "$default", "stage": "$default", "time": "10/Jan/2025:10:23:45 +0000", "timeEpoch": 0,
            "authorizer": {"jwt": {"claims": {"custom:organization_id": ATTACKER.to_string()}, "scopes": null}},
            "http": {"method": method.as_str(), "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1",
                     "userAgent": "bench"},
        },
    });
    Bytes::from(event.to_string())
}
