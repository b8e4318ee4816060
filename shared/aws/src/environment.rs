//! Reads a function's settings from its environment variables.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

/// A setting that is absent or invalid; the function does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSetting {
    #[error("the environment variable {0} is not set")]
    Missing(&'static str),
    #[error("the environment variable {name} {problem}")]
    Unusable { name: &'static str, problem: String },
}

/// Environment variables, read through a look-up function, so that a test can read those of the template instead.
pub struct Environment<'a> {
    look_up: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> Environment<'a> {
    pub fn new(look_up: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { look_up }
    }

    /// # Errors
    /// [`InvalidSetting::Missing`] when the variable is not set or empty.
    pub fn text(&self, name: &'static str) -> Result<String, InvalidSetting> {
        self.optional(name).ok_or(InvalidSetting::Missing(name))
    }

    /// An optional variable. An empty one counts as not set.
    pub fn optional(&self, name: &str) -> Option<String> {
        (self.look_up)(name).filter(|value| !value.is_empty())
    }

    /// A value that is parsed from text. The variable may be empty if the value's type allows it.
    ///
    /// # Errors
    /// [`InvalidSetting::Missing`] when the variable is not set; [`InvalidSetting::Unusable`] when it cannot be
    /// parsed.
    pub fn parsed<T>(&self, name: &'static str) -> Result<T, InvalidSetting>
    where
        T: FromStr<Err: Display>,
    {
        let text = (self.look_up)(name).ok_or(InvalidSetting::Missing(name))?;
        text.parse().map_err(|error: T::Err| InvalidSetting::Unusable { name, problem: error.to_string() })
    }

    /// # Errors
    /// [`InvalidSetting`] when the variable is not set, or not a whole number of seconds from 1 to 99,999.
    pub fn seconds(&self, name: &'static str) -> Result<Duration, InvalidSetting> {
        self.positive(name).map(Duration::from_secs)
    }

    /// # Errors
    /// [`InvalidSetting`] when the variable is not set, or not a whole number of days from 1 to 99,999.
    pub fn days(&self, name: &'static str) -> Result<Duration, InvalidSetting> {
        self.positive(name).map(|days| Duration::from_secs(days * 24 * 60 * 60))
    }

    fn positive(&self, name: &'static str) -> Result<u64, InvalidSetting> {
        let unusable =
            || InvalidSetting::Unusable { name, problem: "must be a whole number from 1 to 99999".to_owned() };
        let number = self.text(name)?.parse::<u32>().map_err(|_| unusable())?;
        if (1..=99_999).contains(&number) { Ok(number.into()) } else { Err(unusable()) }
    }
}

/// Looks up a variable of this process.
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_up(name: &str) -> Option<String> {
        let value = match name {
            "EMPTY" => "",
            "THIRTY" => "30",
            "ZERO" => "0",
            "WORD" => "soon",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn an_error_names_the_variable() {
        let environment = Environment::new(&look_up);
        assert_eq!(environment.seconds("THIRTY"), Ok(Duration::from_secs(30)));
        assert_eq!(environment.days("THIRTY"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(
            ["THIRTY", "EMPTY", "NONE"].map(|name| environment.optional(name)),
            [Some("30".to_owned()), None, None]
        );
        for name in ["EMPTY", "NONE"] {
            let error = environment.text(name).unwrap_err().to_string();
            assert_eq!(error, format!("the environment variable {name} is not set"));
        }
        for name in ["ZERO", "WORD"] {
            let error = environment.seconds(name).unwrap_err().to_string();
            assert_eq!(error, format!("the environment variable {name} must be a whole number from 1 to 99999"));
        }
    }
}
