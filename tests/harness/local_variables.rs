//! The file of variables for `sam local invoke --env-vars`, which `make local` writes: what the functions of a stack on the
//! local cloud were deployed with.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use support::function::Function;

use crate::stack::{Stack, StackError};

/// Why there is no such file.
#[derive(Debug, thiserror::Error)]
pub enum NotWritten {
    #[error(transparent)]
    Stack(#[from] StackError),
    #[error("writing the file of variables: {0}")]
    Io(#[from] io::Error),
}

/// Writes it, for functions that find the local cloud at that URL.
///
/// # Errors
/// [`NotWritten`] when the local cloud does not answer, or the file cannot be written.
pub async fn write(stack: &Stack, cloud: &str, file: &Path) -> Result<(), NotWritten> {
    let mut functions = BTreeMap::new();
    for function in Function::ALL {
        let mut variables: BTreeMap<_, _> = stack.environment(function).await?.into_iter().collect();
        variables.insert("AWS_ENDPOINT_URL".to_owned(), cloud.to_owned());
        functions.insert(function.logical_id(), variables);
    }
    let text = serde_json::to_string_pretty(&functions).map_err(io::Error::other)?;
    Ok(std::fs::write(file, format!("{text}\n"))?)
}
