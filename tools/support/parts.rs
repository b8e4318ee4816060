//! Running only some parts of a long program: `make bench ONLY="work costs"`.

/// The parts with these names, in the program's own order; all parts when no name is given.
///
/// # Errors
/// When there is no part with one of the names.
pub fn choose<T: Copy>(parts: &[(&'static str, T)], names: impl IntoIterator<Item = String>) -> anyhow::Result<Vec<T>> {
    let names: Vec<_> = names.into_iter().collect();
    if let Some(name) = names.iter().find(|name| parts.iter().all(|(known, _)| known != name)) {
        let known: Vec<_> = parts.iter().map(|(known, _)| *known).collect();
        anyhow::bail!("there is no part called {name:?}; there are: {}", known.join(", "));
    }
    let is_chosen = |known: &str| names.is_empty() || names.iter().any(|name| name == known);
    Ok(parts.iter().filter(|(known, _)| is_chosen(known)).map(|(_, part)| *part).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(names: &[&str], expected: Result<&[u32], &str>) {
        let chosen = choose(&[("work", 1), ("costs", 2), ("growth", 3)], names.iter().map(|name| (*name).to_owned()));
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
