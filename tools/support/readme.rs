//! README's text, for tests that run its commands as they are.

use crate::project::Project;

/// The whole text.
///
/// # Panics
/// When the file cannot be read.
pub fn text() -> String {
    let path = Project::source().root().join("README.md");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The block of commands that contains these words.
///
/// # Panics
/// When there is none, or more than one.
pub fn commands_with(words: &str) -> String {
    let text = text();
    // The parts alternate between prose and code; the rest of a fence's line is the language.
    let blocks = text.split("\n```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    let mut blocks = blocks.map(|(_, commands)| commands).filter(|commands| commands.contains(words));
    match (blocks.next(), blocks.next()) {
        (Some(block), None) => format!("{block}\n"),
        (found, _) => panic!("README has {} with {words:?}", if found.is_some() { "two blocks" } else { "no block" }),
    }
}
