//! `docs/measurements.md`: the prose of `measurements.md` beside this file, with what was measured last in its places.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::report::Section;

const TEMPLATE: &str = include_str!("measurements.md");

const NOT_MEASURED: &str = "Not measured yet.\n";

/// Replaces the sections that were measured, in the document and in `target/bench.json`, and keeps the others.
///
/// # Errors
/// When a file cannot be read or written.
pub fn update(root: &Path, sections: &[Section]) -> Result<()> {
    let json = root.join("target/bench.json");
    let mut data: Map<String, Value> = serde_json::from_str(&read(&json)?).unwrap_or_default();
    data.extend(sections.iter().map(|section| (section.part.to_owned(), section.data.clone())));
    write(&json, &serde_json::to_string_pretty(&data)?)?;

    let document = root.join("docs/measurements.md");
    let origin = origin(root)?;
    let measured: Vec<_> = sections.iter().map(|section| (section.part, format!("{origin}\n\n{section}"))).collect();
    write(&document, &render(TEMPLATE, &read(&document)?, &measured))
}

/// When, where and of which commit something was measured. The document itself may have changed since.
fn origin(root: &Path) -> Result<String> {
    let commit = git(root, &["rev-parse", "--short", "HEAD"])?;
    let changes = git(root, &["status", "--porcelain", "--untracked-files=no", "--", ":!docs/measurements.md"])?;
    let changed = if changes.is_empty() { "" } else { " with changes" };
    let now = Timestamp::now().to_string();
    let date = now.split('T').next().unwrap_or_default();
    let processors = available_parallelism()?;
    let architecture = std::env::consts::ARCH;
    Ok(format!("Measured on {date} at commit {commit}{changed}, on {processors} {architecture} processors."))
}

fn git(root: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("git").args(arguments).current_dir(root).output().context("git cannot be run")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The template with a block in each place, which is a line such as `<!-- work -->`: the one that was measured now,
/// else the one that the document has already.
fn render(template: &str, document: &str, measured: &[(&str, String)]) -> String {
    let mut rendered = String::new();
    for line in template.lines() {
        let Some(part) = line.strip_prefix("<!-- ").and_then(|line| line.strip_suffix(" -->")) else {
            rendered.push_str(line);
            rendered.push('\n');
            continue;
        };
        let (begin, end) = (format!("<!-- {part} -->\n"), format!("<!-- /{part} -->\n"));
        let kept = document.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end)).map(|(kept, _)| kept);
        let new = measured.iter().find(|(name, _)| *name == part).map(|(_, block)| block.as_str());
        rendered.extend([&begin, new.or(kept).unwrap_or(NOT_MEASURED), &end]);
    }
    rendered
}

fn read(path: &Path) -> Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        read => read.with_context(|| format!("{} cannot be read", path.display())),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}

/// Whether a part has its place in the document.
pub fn has_place_for(part: &str) -> bool {
    TEMPLATE.lines().any(|line| line == format!("<!-- {part} -->"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_run_keeps_the_other_sections() {
        let template = "# T\n<!-- a -->\nnew prose\n<!-- b -->\n<!-- c -->\n";
        let document = "# T\n<!-- a -->\nold a\n<!-- /a -->\nold prose\n<!-- b -->\nold b\n<!-- /b -->\n";
        let expected = "# T\n<!-- a -->\nold a\n<!-- /a -->\nnew prose\n<!-- b -->\nnew b\n<!-- /b -->\n\
                        <!-- c -->\nNot measured yet.\n<!-- /c -->\n";
        assert_eq!(render(template, document, &[("b", "new b\n".to_owned())]), expected);
    }
}
