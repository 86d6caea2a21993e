//! What a configurable HMAC signs: text with placeholders, the body among them (3.1, `payloadFormat`).

/// A part of what is signed, before or after the body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// Text as it stands.
    Literal(String),
    /// The time of signing, as its header has it.
    Timestamp,
    /// The id of the message, as its header has it.
    Id,
    /// The request's method; deliveries are always `POST`.
    Method,
}

/// What is signed: `before`, the body, `after`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Format {
    pub(super) before: Vec<Part>,
    pub(super) after: Vec<Part>,
}

impl Format {
    /// Reads a format. The message says what is wrong and what is allowed.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        const ALLOWED: &str = "allowed are {timestamp}, {body}, {id}, {svix-id} and {method}";
        if text.len() > 256 {
            return Err("must not be longer than 256 bytes".to_owned());
        }
        let mut before = Vec::new();
        let mut after: Option<Vec<Part>> = None;
        let mut rest = text;
        while !rest.is_empty() {
            let parts = after.as_mut().unwrap_or(&mut before);
            let Some(brace) = rest.find('{') else {
                parts.push(Part::Literal(rest.to_owned()));
                break;
            };
            if brace > 0 {
                parts.push(Part::Literal(rest[..brace].to_owned()));
            }
            let Some(length) = rest[brace..].find('}') else { return Err(format!("has a brace that is not closed; {ALLOWED}")) };
            match &rest[brace..=brace + length] {
                "{timestamp}" => parts.push(Part::Timestamp),
                "{id}" | "{svix-id}" => parts.push(Part::Id),
                "{method}" => parts.push(Part::Method),
                "{body}" if after.is_none() => after = Some(Vec::new()),
                "{body}" => return Err("must contain {body} once".to_owned()),
                // The address a sender sees differs from the one a request arrives at.
                "{url}" => return Err(format!("must not contain {{url}}, which proxies change; {ALLOWED}")),
                other => return Err(format!("has an unknown placeholder {other}; {ALLOWED}")),
            }
            rest = &rest[brace + length + 1..];
        }
        match after {
            Some(after) => Ok(Self { before, after }),
            None => Err("must contain {body}".to_owned()),
        }
    }

    /// Returns whether `part` is signed.
    pub(super) fn contains(&self, part: &Part) -> bool {
        self.before.contains(part) || self.after.contains(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_may_stand_anywhere_but_only_once() {
        let format = Format::parse("{id}.{timestamp}.{body}!{method}").unwrap();
        let dot = || Part::Literal(".".to_owned());
        assert_eq!(format.before, [Part::Id, dot(), Part::Timestamp, dot()]);
        assert_eq!(format.after, [Part::Literal("!".to_owned()), Part::Method]);
        assert_eq!(Format::parse("{body}").unwrap(), Format { before: vec![], after: vec![] });
        for bad in ["", "{timestamp}", "{body}{body}", "{body}{url}", "{body}{what}", "{body", &"{body}".repeat(100)] {
            assert!(Format::parse(bad).is_err(), "{bad}");
        }
    }
}
