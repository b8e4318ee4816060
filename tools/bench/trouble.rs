//! Why a benchmark cannot go on. It measures nothing that did not happen as it must.

use std::io;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error(transparent)]
    Support(#[from] anyhow::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("an alert of the benchmark's own: {0}")]
    Alert(#[from] domain::json::InvalidField),
    #[error("an integration in the table: {0}")]
    Item(#[from] serde_dynamo::Error),
    #[error("{path} does not exist: run `make bench`, which builds it")]
    Missing { path: String },
    #[error("{worker} did not {what} within {} s; it said:\n{said}", crate::worker::PATIENCE.as_secs())]
    Late { worker: String, what: &'static str, said: String },
    #[error("{worker} failed: {answer}")]
    Failed { worker: String, answer: String },
    /// An AWS call that the endpoint on loopback does not know.
    #[error("an AWS call is not one that the benchmark knows: {0}")]
    UnknownCall(String),
    #[error("{what}: {found} instead of {expected}; nothing is measured that did not happen as it must")]
    Differs { what: String, expected: String, found: String },
}

/// Fails unless what was found is what must be.
///
/// # Errors
/// [`Trouble::Differs`], naming what differs.
pub fn must_be<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), Trouble> {
    if found == expected {
        return Ok(());
    }
    let (expected, found) = (format!("{expected:?}"), format!("{found:?}"));
    Err(Trouble::Differs { what: what.to_owned(), expected, found })
}
