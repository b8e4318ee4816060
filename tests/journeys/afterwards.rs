//! What is checked when all journeys are over.

use anyhow::anyhow;
use harness::leaks::Secrets;
use harness::operator::DEAD_RETRY_MESSAGE;
use serde_json::Value;
use support::function::Function;

use crate::hostile;
use crate::testbed::{CANARY, CANARY_IN_BASE64, INTRUDER, Testbed};

/// Every secret, header value, payload and URL of every journey held a canary, which must be in nothing that others may
/// see. What a bad retry message held may be in the dead-letter queue only.
pub async fn no_secret_has_leaked(testbed: Testbed) -> anyhow::Result<()> {
    let mut texts = testbed.stack.visible_texts().await?;
    assert!(texts.len() > 100, "only {} texts", texts.len());
    let secrets = [CANARY, CANARY_IN_BASE64].into_iter().chain(hostile::ECHOED);
    let mut leaks = Secrets::new(secrets).find_in(texts.clone());
    texts.retain(|text| text.place != DEAD_RETRY_MESSAGE);
    leaks.extend(Secrets::new([INTRUDER]).find_in(texts));
    assert!(leaks.is_empty(), "{leaks:#?}");
    Ok(())
}

/// Every dead letter says what is wrong with it. One that does not was moved by SQS after too many receives; and one
/// journey only sends a message that is ahead of its delivery.
pub async fn only_bad_messages_are_dead_letters(testbed: Testbed) -> anyhow::Result<()> {
    let letters = testbed.stack.dead_letters().await?;
    let unexplained: Vec<_> = letters.iter().filter(|letter| letter.attributes.is_empty()).collect();
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    let ahead: Vec<_> = letters
        .iter()
        .filter(|letter| letter.attributes.get("field").is_some_and(|field| field == "attempt"))
        .collect();
    assert!(ahead.len() <= 1, "{ahead:#?}");
    Ok(())
}

/// Every line is JSON with a level and a message, and none reports a fault of ours.
pub async fn every_log_line_is_well_formed(testbed: Testbed) -> anyhow::Result<()> {
    let mut faults = Vec::new();
    for function in Function::ALL {
        for line in testbed.stack.log_lines(function).await? {
            let parsed: Value =
                serde_json::from_str(&line).map_err(|_| anyhow!("{} wrote {line:?}", function.logical_id()))?;
            assert!(matches!(parsed["level"].as_str(), Some("INFO" | "WARN" | "ERROR")), "{line}");
            assert!(parsed["message"].as_str().is_some_and(|message| !message.is_empty()), "{line}");
            if parsed["message"] == "message returned to its queue" && parsed["level"] == "ERROR" {
                faults.push(line);
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    Ok(())
}
