//! Characters that a reader cannot see: removed from what endpoints send, refused in what customers type.

use std::fmt;

/// Whether a character changes how others are displayed, or is not displayed itself: Unicode's default-ignorable format
/// characters, interlinear annotations, tags, and letters without ink. Joiners and variation selectors are among them,
/// although emoji contain them. White space and control characters are not.
pub fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Whether a character joins others or chooses their form, as emoji and some scripts need it.
fn joins(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

/// An invisible character in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invisible {
    character: char,
    /// In characters, from 1.
    position: usize,
}

/// The end of a sentence that begins with what contains it. It quotes nothing of the text, which may be a secret.
impl fmt::Display for Invisible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { character, position } = self;
        write!(f, "contains an invisible character (U+{:04X}) at position {position}", u32::from(*character))
    }
}

/// The first invisible character of a text.
pub fn first_invisible(text: &str) -> Option<Invisible> {
    first(text, is_invisible)
}

/// The first invisible character of a text that people read, such as a name. Joiners and variation selectors count only
/// where they have nothing to join: at the beginning and after white space.
pub fn first_invisible_in_prose(text: &str) -> Option<Invisible> {
    let mut has_something_to_join = false;
    first(text, |c| {
        let is_out_of_place = is_invisible(c) && !(joins(c) && has_something_to_join);
        has_something_to_join = !c.is_whitespace();
        is_out_of_place
    })
}

fn first(text: &str, mut is_wanted: impl FnMut(char) -> bool) -> Option<Invisible> {
    let (before, character) = text.chars().enumerate().find(|(_, c)| is_wanted(*c))?;
    Some(Invisible { character, position: before + 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invisible_character_is_named_with_its_position() {
        let found = first_invisible("https://bücher.example/webhook\u{200b}?a\u{202e}").map(|found| found.to_string());
        assert_eq!(found.as_deref(), Some("contains an invisible character (U+200B) at position 31"));
        let tag = first_invisible("\u{e0041}").map(|found| found.to_string());
        assert_eq!(tag.as_deref(), Some("contains an invisible character (U+E0041) at position 1"));
        assert_eq!(first_invisible("Größe ロボット 🤖 \t\n\0"), None);
    }

    #[track_caller]
    fn in_prose(text: &str, position: Option<usize>) {
        assert_eq!(first_invisible_in_prose(text).map(|found| found.position), position);
    }

    #[test]
    fn prose_may_contain_emoji_and_scripts_with_joiners() {
        in_prose("⚠️ Pager 👩‍🔧 1️⃣, می‌خواهم", None);
        in_prose("Pager\u{200b}", Some(6));
        in_prose("\u{202e}regaP", Some(1));
        in_prose("\u{200d}", Some(1));
        in_prose("a \u{fe0f}", Some(3));
    }
}
