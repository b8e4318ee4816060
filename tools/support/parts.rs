//! Making only some parts of a long run: `make bench ONLY="work costs"`.

/// A part was asked for that a program does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no part called {name:?}; there are: {known}")]
pub struct NoSuchPart {
    name: String,
    known: String,
}

/// The parts of these names, in the program's own order; all of them where none is named.
///
/// # Errors
/// [`NoSuchPart`] for a name that none of them has.
pub fn chosen<T: Copy>(
    parts: &[(&'static str, T)],
    names: impl IntoIterator<Item = String>,
) -> Result<Vec<T>, NoSuchPart> {
    let names: Vec<_> = names.into_iter().collect();
    if let Some(name) = names.iter().find(|name| parts.iter().all(|(known, _)| known != name)) {
        let known: Vec<_> = parts.iter().map(|(known, _)| *known).collect();
        return Err(NoSuchPart { name: name.clone(), known: known.join(", ") });
    }
    let is_chosen = |known: &str| names.is_empty() || names.iter().any(|name| name == known);
    Ok(parts.iter().filter(|(known, _)| is_chosen(known)).map(|(_, part)| *part).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(names: &[&str], expected: Result<&[u32], &str>) {
        let chosen = chosen(&[("work", 1), ("costs", 2), ("growth", 3)], names.iter().map(|name| (*name).to_owned()));
        let expected = expected.map(<[u32]>::to_vec).map_err(str::to_owned);
        assert_eq!(chosen.map_err(|error| error.to_string()), expected, "{names:?}");
    }

    #[test]
    fn the_named_parts_are_chosen_or_all() {
        check(&[], Ok(&[1, 2, 3]));
        check(&["costs"], Ok(&[2]));
        check(&["growth", "work", "growth"], Ok(&[1, 3]));
        check(&["work", "cost"], Err(r#"there is no part called "cost"; there are: work, costs, growth"#));
    }
}
