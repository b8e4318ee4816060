//! The file of environment variables for `sam local invoke --env-vars`, which `make local` writes: the variables that
//! the functions of a stack on the local cloud were deployed with.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use support::function::Function;

use crate::stack::Stack;

/// Writes the file, for functions that reach the local cloud at the URL `cloud`.
///
/// # Errors
/// When the local cloud does not answer, or the file cannot be written.
pub async fn write(stack: &Stack, cloud: &str, file: &Path) -> anyhow::Result<()> {
    let mut functions = BTreeMap::new();
    for function in Function::ALL {
        let mut variables: BTreeMap<_, _> = stack.environment(function).await?.into_iter().collect();
        variables.insert("AWS_ENDPOINT_URL".to_owned(), cloud.to_owned());
        functions.insert(function.logical_id(), variables);
    }
    let text = serde_json::to_string_pretty(&functions)?;
    std::fs::write(file, format!("{text}\n")).with_context(|| format!("writing {}", file.display()))
}
