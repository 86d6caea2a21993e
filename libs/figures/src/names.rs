//! Names of tools, which nobody writes the same way.

/// Parts a name such as `put_on_hold`, `put-on-hold` or `holdCall` into words.
pub fn words_of_name(name: &str) -> impl Iterator<Item = &str> {
    let mut words = Vec::new();
    let (mut start, mut before) = (0, '_');
    for (at, now) in name.char_indices() {
        if !now.is_alphanumeric() || (before.is_lowercase() && now.is_uppercase()) {
            words.push(&name[start..at]);
            start = at;
        }
        before = now;
    }
    words.push(&name[start..]);
    let words = words.into_iter().map(|word| word.trim_matches(|edge: char| !edge.is_alphanumeric()));
    words.filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parted_however_their_words_are_joined() {
        for name in ["put_on_hold", "put-on-hold", "put on  hold", "putOnHold", "__put.on/hold "] {
            let words: Vec<String> = words_of_name(name).map(str::to_lowercase).collect();
            assert_eq!(words, ["put", "on", "hold"], "{name}");
        }
        assert_eq!(words_of_name("HOLD").collect::<Vec<_>>(), ["HOLD"]);
        assert_eq!([words_of_name("").count(), words_of_name("_-").count()], [0, 0]);
    }
}
