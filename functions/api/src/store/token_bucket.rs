//! Token buckets, which limit how often something may happen: at once, and in the long run.
//!
//! A bucket is stored as one instant: when it will be full (the generic cell rate algorithm). Taking tokens moves that
//! instant further ahead. DynamoDB does so in one conditional update, so concurrent requests do not conflict, and a
//! request that is refused costs one read.

use std::time::Duration;

use aws::dynamodb::conditional::{Conditional, conditional, with_backoff};
use aws::fault::Fault;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use domain::ids::OrganizationId;
use jiff::Timestamp;

use crate::store::item::{Item, UNREADABLE, get, item_key, number};

/// How long an item is stored after its bucket is full.
const OUTLIVES: Duration = Duration::from_secs(60 * 60);

/// A bucket's size and how fast it fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    /// How many tokens it holds when it is full: the most that can be taken at once.
    pub capacity: u32,
    /// The time in which one token is added.
    pub every: Duration,
}

/// The bucket has too few tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFewTokens {
    /// When it has enough, if no others are taken before.
    pub until: Timestamp,
}

/// What a bucket was found to be, and so how tokens are taken from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Full,
    PartlyFull,
}

impl TokenBucket {
    /// How `count` tokens are taken from a bucket that will be full at that time, or was never used.
    fn check(self, full_at: Option<Timestamp>, count: u32, now: Timestamp) -> Result<Found, TooFewTokens> {
        let Some(full_at) = full_at.filter(|full_at| *full_at >= now) else { return Ok(Found::Full) };
        let latest = self.latest(count, now);
        if full_at <= latest {
            return Ok(Found::PartlyFull);
        }
        Err(TooFewTokens { until: later(now, full_at.duration_since(latest).unsigned_abs()) })
    }

    /// The latest time for a bucket to be full if it holds `count` tokens now.
    fn latest(self, count: u32, now: Timestamp) -> Timestamp {
        later(now, self.every * self.capacity.saturating_sub(count))
    }
}

/// The buckets of all organizations.
#[derive(Clone, Debug)]
pub struct TokenBuckets {
    client: Client,
    table: String,
}

impl TokenBuckets {
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Takes `count` tokens from an organization's bucket, and returns when it will be full then. When the answer of
    /// DynamoDB is lost, the SDK's repetition takes them a second time.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails, [`Fault::Contended`] when the bucket keeps changing between full and not.
    pub async fn take(
        &self,
        organization: OrganizationId,
        name: &str,
        bucket: TokenBucket,
        count: u32,
        now: Timestamp,
    ) -> Result<Result<Timestamp, TooFewTokens>, Fault> {
        let sort_key = format!("tokens_{name}");
        let found = get(&self.client, &self.table, organization, &sort_key).await?;
        let key = &item_key(organization, &sort_key);
        with_backoff(found, |item: Option<Item>| async move {
            let full_at = item.as_ref().map(read).transpose()?;
            match bucket.check(full_at, count, now) {
                Ok(found) => Ok(self.write(key.clone(), bucket, found, count, now).await?.map(Ok)),
                Err(too_few) => Ok(Conditional::Applied(Err(too_few))),
            }
        })
        .await
    }

    /// Takes tokens from a bucket, if it still is as it was found.
    async fn write(
        &self,
        key: Item,
        bucket: TokenBucket,
        found: Found,
        count: u32,
        now: Timestamp,
    ) -> Result<Conditional<Timestamp, Option<Item>>, Fault> {
        let taken = bucket.every * count;
        let full_at_the_latest = later(now, bucket.every * bucket.capacity);
        let update = self.client.update_item().table_name(&self.table).set_key(Some(key));
        let update = match found {
            Found::Full => update
                .update_expression("SET full_at = :next, expires_at = :expires_at")
                .condition_expression("attribute_not_exists(full_at) OR full_at < :now")
                .expression_attribute_values(":next", number(later(now, taken).as_millisecond())),
            Found::PartlyFull => update
                .update_expression("SET full_at = full_at + :taken, expires_at = :expires_at")
                .condition_expression("full_at >= :now AND full_at <= :latest")
                .expression_attribute_values(":taken", number(taken.as_millis()))
                .expression_attribute_values(":latest", number(bucket.latest(count, now).as_millisecond())),
        };
        let answer = update
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .expression_attribute_values(":expires_at", number(later(full_at_the_latest, OUTLIVES).as_second()))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match conditional(answer)? {
            Conditional::Applied(output) => Ok(Conditional::Applied(read(&output.attributes.unwrap_or_default())?)),
            Conditional::Refused(item) => Ok(Conditional::Refused(item)),
        }
    }
}

/// When a bucket will be full.
fn read(item: &Item) -> Result<Timestamp, Fault> {
    let millis = item.get("full_at").and_then(|full_at| full_at.as_n().ok()?.parse().ok());
    millis.and_then(|millis| Timestamp::from_millisecond(millis).ok()).ok_or(UNREADABLE)
}

fn later(instant: Timestamp, by: Duration) -> Timestamp {
    instant.saturating_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUCKET: TokenBucket = TokenBucket { capacity: 3, every: Duration::from_secs(2) };

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_736_500_000_000 + millis).unwrap()
    }

    #[track_caller]
    fn check(full_at: Option<i64>, count: u32, expected: Result<Found, i64>) {
        let expected = expected.map_err(|until| TooFewTokens { until: at(until) });
        assert_eq!(BUCKET.check(full_at.map(at), count, at(0)), expected, "{full_at:?}");
    }

    #[test]
    fn a_full_bucket_has_all_its_tokens() {
        check(None, 1, Ok(Found::Full));
        check(None, 3, Ok(Found::Full));
        check(Some(-1), 3, Ok(Found::Full));
        check(Some(0), 3, Ok(Found::PartlyFull));
    }

    #[test]
    fn a_token_is_added_every_two_seconds() {
        // One of three tokens is there as long as it is full in four seconds at the latest.
        check(Some(4_000), 1, Ok(Found::PartlyFull));
        check(Some(4_001), 1, Err(1));
        check(Some(6_000), 1, Err(2_000));
        check(Some(2_000), 2, Ok(Found::PartlyFull));
        check(Some(6_000), 2, Err(4_000));
    }
}
