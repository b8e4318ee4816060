//! What can be said when all journeys are over.

use harness::leaks::Secrets;
use harness::stack::RETRIES_BURIED;
use libtest_mimic::Failed;
use serde_json::Value;
use support::function::Function;

use crate::scene::{CANARY, CANARY_IN_BASE64, INTRUDER, Scene};

/// Every secret, header value, payload and URL of every journey held a canary. None is in anything that others see, in
/// whatever form; what a bad retry message holds is only where it was buried.
pub async fn nothing_secret_was_shown(scene: Scene) -> Result<(), Failed> {
    let mut shown = scene.stack.shown().await?;
    assert!(shown.len() > 100, "there was something to look at");
    let mut leaks = Secrets::new([CANARY, CANARY_IN_BASE64]).leaks(shown.clone());
    shown.retain(|it| it.place != RETRIES_BURIED);
    leaks.extend(Secrets::new([INTRUDER]).leaks(shown));
    assert!(leaks.is_empty(), "{leaks:#?}");
    Ok(())
}

/// Whatever is in a dead-letter queue was put there for a reason that it carries. One that carries none was given up on
/// by SQS, and a due attempt is ahead of its delivery only where a journey made it so.
pub async fn only_bad_messages_were_buried(scene: Scene) -> Result<(), Failed> {
    let letters = scene.stack.dead_letters().await?;
    let given_up: Vec<_> = letters.iter().filter(|letter| letter.attributes.is_empty()).collect();
    assert!(given_up.is_empty(), "{given_up:#?}");
    let ahead: Vec<_> = letters
        .iter()
        .filter(|letter| letter.attributes.get("field").is_some_and(|field| field == "attempt"))
        .collect();
    assert!(ahead.len() <= 1, "{ahead:#?}");
    Ok(())
}

/// Whoever searches the logs finds JSON, with a level and a message, and faults only where a journey made one.
pub async fn every_log_line_is_one_of_ours(scene: Scene) -> Result<(), Failed> {
    let mut faults = Vec::new();
    for function in Function::ALL {
        for line in scene.stack.log_lines(function).await? {
            let parsed: Value =
                serde_json::from_str(&line).map_err(|_| format!("{} wrote {line:?}", function.logical_id()))?;
            assert!(matches!(parsed["level"].as_str(), Some("INFO" | "WARN" | "ERROR")), "{line}");
            assert!(parsed["message"].as_str().is_some_and(|message| !message.is_empty()), "{line}");
            if parsed["message"] == "message given back to its queue" && parsed["level"] == "ERROR" {
                faults.push(line);
            }
        }
    }
    assert!(faults.is_empty(), "faults of ours: {faults:#?}");
    Ok(())
}
