//! Reading a function's settings from its environment variables.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

/// A setting that is absent or cannot be used; the function does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSetting {
    #[error("the environment variable {0} is not set")]
    Missing(&'static str),
    #[error("the environment variable {name} {problem}")]
    Unusable { name: &'static str, problem: String },
}

/// The environment, behind a look-up, so that what is read can be compared with what the template gives.
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

    /// A variable that may be left out; empty, it is.
    pub fn optional(&self, name: &str) -> Option<String> {
        (self.look_up)(name).filter(|value| !value.is_empty())
    }

    /// A value that reads itself from text; the variable may be empty if the value's type allows it.
    ///
    /// # Errors
    /// [`InvalidSetting`] when the variable is not set, or what the type says of the text.
    pub fn parsed<T>(&self, name: &'static str) -> Result<T, InvalidSetting>
    where
        T: FromStr<Err: Display>,
    {
        let text = (self.look_up)(name).ok_or(InvalidSetting::Missing(name))?;
        text.parse().map_err(|error: T::Err| InvalidSetting::Unusable { name, problem: error.to_string() })
    }

    /// # Errors
    /// [`InvalidSetting`] when the variable is not set or no positive whole number of seconds.
    pub fn seconds(&self, name: &'static str) -> Result<Duration, InvalidSetting> {
        self.positive(name).map(Duration::from_secs)
    }

    /// # Errors
    /// [`InvalidSetting`] when the variable is not set or no positive whole number of days.
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
    fn a_bad_setting_is_told_by_name() {
        let environment = Environment::new(&look_up);
        assert_eq!(environment.seconds("THIRTY"), Ok(Duration::from_secs(30)));
        assert_eq!(environment.days("THIRTY"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(
            ["THIRTY", "EMPTY", "NONE"].map(|name| environment.optional(name)),
            [Some("30".to_owned()), None, None]
        );
        let told = |error: InvalidSetting| error.to_string();
        assert_eq!(told(environment.text("EMPTY").unwrap_err()), "the environment variable EMPTY is not set");
        assert_eq!(told(environment.text("NONE").unwrap_err()), "the environment variable NONE is not set");
        for name in ["ZERO", "WORD"] {
            let told = told(environment.seconds(name).unwrap_err());
            assert_eq!(told, format!("the environment variable {name} must be a whole number from 1 to 99999"));
        }
    }
}
