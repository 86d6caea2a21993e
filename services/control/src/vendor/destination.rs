//! Where a person can be connected to.

use super::Failure;

/// Where a transfer goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Destination<'a> {
    /// A phone number (E.164).
    Number(&'a str),
    /// A SIP address with its scheme.
    Sip(&'a str),
}

impl<'a> Destination<'a> {
    /// Reads a destination.
    pub(super) fn read(text: &'a str) -> Result<Self, Failure> {
        let digits = text.strip_prefix('+').unwrap_or_default();
        let is_number = (7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        let rest = ["sip:", "sips:"].iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or_default();
        let is_sip = !rest.is_empty() && rest.chars().all(|c| c.is_ascii_graphic());
        if is_number {
            Ok(Self::Number(text))
        } else if is_sip {
            Ok(Self::Sip(text))
        } else {
            Err(Failure::Refused("a transfer goes to a number like +14155550100 or to a sip: address".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_sip_addresses_are_told_apart_from_anything_else() {
        assert_eq!(Destination::read("+14155550100"), Ok(Destination::Number("+14155550100")));
        assert_eq!(Destination::read("sip:+1@host.example"), Ok(Destination::Sip("sip:+1@host.example")));
        assert_eq!(Destination::read("sips:a@b"), Ok(Destination::Sip("sips:a@b")));
        for text in ["", "+", "+1", "14155550100", "+1415555010x", "+1234567890123456", "sip:", "sip:a b", "tel:+14155550100"] {
            assert!(Destination::read(text).is_err(), "{text}");
        }
    }
}
