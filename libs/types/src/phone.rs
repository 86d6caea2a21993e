//! Telephone numbers in one form.

/// Returns `text` in E.164 (`+12025550123`), or `None` when it is not a number that can be written so.
///
/// Only numbers that name their country can be normalised: with a leading `+`, or `00` as most of the world dials it.
/// Separators are dropped. A number without a country is left to the caller, since guessing one would invent a fact.
pub fn normalize(text: &str) -> Option<String> {
    let trimmed = text.trim();
    let trimmed = trimmed.strip_prefix("tel:").unwrap_or(trimmed);
    let international = match trimmed.strip_prefix("00") {
        Some(rest) => format!("+{rest}"),
        None => trimmed.to_owned(),
    };
    if !international.starts_with('+') || international.len() > 40 {
        return None;
    }
    let number = phonenumber::parse(None, &international).ok()?;
    Some(number.format().mode(phonenumber::Mode::E164).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_international_numbers_in_e164() {
        for written in ["+12025550123", "+1 (202) 555-0123", "001 202 555 0123", "tel:+1-202-555-0123"] {
            assert_eq!(normalize(written).as_deref(), Some("+12025550123"), "{written}");
        }
    }

    #[test]
    fn invents_no_country_and_refuses_what_is_no_number() {
        for other in ["", "+", "anonymous", "2025550123", "sip:bob@example.com", &"+1".repeat(100)] {
            assert_eq!(normalize(other), None, "{other}");
        }
    }
}
