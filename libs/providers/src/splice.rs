//! Taking one huge string out of a JSON body while it streams by.
//!
//! A recording in base64 can be a hundred megabytes. The [`Splicer`] decodes that one string as it arrives and keeps the rest of the
//! body, which is small, so that neither the text nor the bytes of the recording are ever wholly in memory.

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Containers nested deeper than this are refused, as the JSON parser does.
const MAX_DEPTH: usize = 128;

const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a body cannot be spliced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpliceError {
    /// The string is not base64.
    #[error("the recording is not base64")]
    NotBase64,
    /// The path leads to two strings.
    #[error("the recording is there more than once")]
    Repeated,
    /// The body ends within a string or container.
    #[error("the body ends too early")]
    Unterminated,
    /// Containers are nested too deeply, or closed without having been opened.
    #[error("the body is not JSON, or nested deeper than 128 levels")]
    BadNesting,
    /// The rest of the body is larger than allowed.
    #[error("the body without its recording is larger than {0} bytes")]
    RestTooLarge(usize),
}

/// One open container.
#[derive(Debug)]
struct Level {
    is_object: bool,
    /// Whether the next string names a field.
    expects_key: bool,
    /// Whether the last name was the path's at this depth.
    on_path: bool,
}

/// Where the scanner stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Between strings.
    Structure,
    /// Within a string that is kept. `key` is where it begins in the rest, when it is a name that may be on the path.
    Kept { key: Option<usize>, escaped: bool },
    /// Within the string that is taken out.
    Taken,
    /// After a backslash within it.
    TakenEscape,
    /// Within the digits of `\uXXXX` within it: how many are still to come, and their value so far.
    TakenUnicode { missing: u8, code: u32 },
}

/// Splits a JSON body into the decoded bytes of one base64 string, and everything else.
#[derive(Debug)]
pub struct Splicer {
    path: &'static [&'static str],
    rest_limit: usize,
    rest: Vec<u8>,
    levels: Vec<Level>,
    mode: Mode,
    /// Base64 that does not fill a group of four yet.
    pending: Vec<u8>,
    padded: bool,
    found: bool,
    decoded: u64,
}

impl Splicer {
    /// Returns a splicer for the string at `path`, a list of field names from the outermost object inwards. More than
    /// `rest_limit` bytes besides it are an error.
    pub fn new(path: &'static [&'static str], rest_limit: usize) -> Self {
        Self {
            path,
            rest_limit,
            rest: Vec::new(),
            levels: Vec::new(),
            mode: Mode::Structure,
            pending: Vec::new(),
            padded: false,
            found: false,
            decoded: 0,
        }
    }

    /// Takes the next part of the body and appends what it decodes to `out`.
    ///
    /// # Errors
    /// [`SpliceError`]; the body cannot be used then, and neither can the splicer.
    pub fn feed(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), SpliceError> {
        let mut at = 0;
        while at < chunk.len() {
            let rest = &chunk[at..];
            at += match self.mode {
                Mode::Structure => self.structure(rest)?,
                Mode::Kept { key, escaped } => self.kept(rest, key, escaped)?,
                Mode::Taken => self.taken(rest, out)?,
                Mode::TakenEscape => self.taken_escape(rest[0])?,
                Mode::TakenUnicode { missing, code } => self.taken_unicode(rest[0], missing, code)?,
            };
        }
        self.decode_groups(out)
    }

    /// Ends the body. Returns the rest of it, with an empty string where the recording was, and how many bytes were decoded.
    ///
    /// # Errors
    /// [`SpliceError::Unterminated`] when the body is not complete.
    pub fn finish(self) -> Result<(Vec<u8>, u64), SpliceError> {
        if self.mode != Mode::Structure || !self.levels.is_empty() {
            return Err(SpliceError::Unterminated);
        }
        Ok((self.rest, self.decoded))
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), SpliceError> {
        if self.rest.len() + bytes.len() > self.rest_limit {
            return Err(SpliceError::RestTooLarge(self.rest_limit));
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    fn structure(&mut self, bytes: &[u8]) -> Result<usize, SpliceError> {
        let byte = bytes[0];
        self.keep(&bytes[..1])?;
        match byte {
            b'"' => self.begin_string()?,
            b'{' | b'[' => {
                if self.levels.len() == MAX_DEPTH {
                    return Err(SpliceError::BadNesting);
                }
                let is_object = byte == b'{';
                self.levels.push(Level { is_object, expects_key: is_object, on_path: false });
            }
            b'}' | b']' => {
                let level = self.levels.pop().ok_or(SpliceError::BadNesting)?;
                if level.is_object != (byte == b'}') {
                    return Err(SpliceError::BadNesting);
                }
            }
            b',' => {
                if let Some(level) = self.levels.last_mut() {
                    level.expects_key = level.is_object;
                    level.on_path = false;
                }
            }
            b':' => {
                if let Some(level) = self.levels.last_mut() {
                    level.expects_key = false;
                }
            }
            _ => {}
        }
        Ok(1)
    }

    fn begin_string(&mut self) -> Result<(), SpliceError> {
        let depth = self.levels.len();
        let expects_key = self.levels.last().is_some_and(|level| level.expects_key);
        if expects_key {
            let outer_on_path = self.levels[..depth - 1].iter().all(|level| level.on_path);
            let key = (depth <= self.path.len() && outer_on_path).then(|| self.rest.len() - 1);
            self.mode = Mode::Kept { key, escaped: false };
        } else if depth == self.path.len() && self.levels.iter().all(|level| level.on_path) {
            if self.found {
                return Err(SpliceError::Repeated);
            }
            self.found = true;
            self.mode = Mode::Taken;
        } else {
            self.mode = Mode::Kept { key: None, escaped: false };
        }
        Ok(())
    }

    fn kept(&mut self, bytes: &[u8], key: Option<usize>, escaped: bool) -> Result<usize, SpliceError> {
        if escaped {
            self.keep(&bytes[..1])?;
            self.mode = Mode::Kept { key, escaped: false };
            return Ok(1);
        }
        let Some(end) = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\')) else {
            self.keep(bytes)?;
            return Ok(bytes.len());
        };
        self.keep(&bytes[..=end])?;
        if bytes[end] == b'\\' {
            self.mode = Mode::Kept { key, escaped: true };
        } else {
            self.mode = Mode::Structure;
            if let Some(begins_at) = key {
                let depth = self.levels.len();
                // Names may be written with escapes, so they are read before they are compared.
                let name: Option<String> = serde_json::from_slice(&self.rest[begins_at..]).ok();
                if let Some(level) = self.levels.last_mut() {
                    level.on_path = name.as_deref() == Some(self.path[depth - 1]);
                }
            }
        }
        Ok(end + 1)
    }

    fn taken(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, SpliceError> {
        let is_plain = |byte: &u8| !matches!(byte, b'"' | b'\\' | b' ' | b'\t' | b'\r' | b'\n' | b'=');
        let plain = bytes.iter().position(|byte| !is_plain(byte)).unwrap_or(bytes.len());
        if plain > 0 {
            if self.padded {
                return Err(SpliceError::NotBase64);
            }
            self.pending.extend_from_slice(&bytes[..plain]);
            return Ok(plain);
        }
        match bytes[0] {
            b'"' => self.end_taken(out)?,
            b'\\' => self.mode = Mode::TakenEscape,
            b'=' => self.pad()?,
            // White space within base64 means nothing.
            _ => {}
        }
        Ok(1)
    }

    /// Of the short escapes, only the solidus is base64, and some are white space.
    fn taken_escape(&mut self, byte: u8) -> Result<usize, SpliceError> {
        self.mode = Mode::Taken;
        match byte {
            b'/' => self.push(b'/')?,
            b'n' | b'r' | b't' => {}
            b'u' => self.mode = Mode::TakenUnicode { missing: 4, code: 0 },
            _ => return Err(SpliceError::NotBase64),
        }
        Ok(1)
    }

    fn taken_unicode(&mut self, byte: u8, missing: u8, code: u32) -> Result<usize, SpliceError> {
        let digit = char::from(byte).to_digit(16).ok_or(SpliceError::NotBase64)?;
        let code = code * 16 + digit;
        if missing > 1 {
            self.mode = Mode::TakenUnicode { missing: missing - 1, code };
            return Ok(1);
        }
        self.mode = Mode::Taken;
        match u8::try_from(code) {
            Ok(b'=') => self.pad()?,
            Ok(b' ' | b'\t' | b'\r' | b'\n') => {}
            Ok(byte) if byte.is_ascii() => self.push(byte)?,
            _ => return Err(SpliceError::NotBase64),
        }
        Ok(1)
    }

    fn push(&mut self, byte: u8) -> Result<(), SpliceError> {
        if self.padded {
            return Err(SpliceError::NotBase64);
        }
        self.pending.push(byte);
        Ok(())
    }

    /// Padding ends the data: nothing but more padding may follow, and never more than fills the group.
    fn pad(&mut self) -> Result<(), SpliceError> {
        if self.pending.len() % 4 < 2 {
            return Err(SpliceError::NotBase64);
        }
        self.padded = true;
        self.pending.push(b'=');
        Ok(())
    }

    fn end_taken(&mut self, out: &mut Vec<u8>) -> Result<(), SpliceError> {
        self.keep(b"\"")?;
        self.mode = Mode::Structure;
        let all = self.pending.len();
        self.decode(all, out)
    }

    /// Decodes the groups that are full, but keeps a last padded one: more padding would not be base64.
    fn decode_groups(&mut self, out: &mut Vec<u8>) -> Result<(), SpliceError> {
        if self.padded {
            return Ok(());
        }
        self.decode(self.pending.len() / 4 * 4, out)
    }

    fn decode(&mut self, length: usize, out: &mut Vec<u8>) -> Result<(), SpliceError> {
        let before = out.len();
        ENGINE.decode_vec(&self.pending[..length], out).map_err(|_| SpliceError::NotBase64)?;
        self.decoded += (out.len() - before) as u64;
        self.pending.drain(..length);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const PATH: &[&str] = &["data", "full_audio"];

    fn splice(chunks: &[&[u8]]) -> Result<(Vec<u8>, Vec<u8>), SpliceError> {
        let mut splicer = Splicer::new(PATH, 1 << 20);
        let mut out = Vec::new();
        for chunk in chunks {
            splicer.feed(chunk, &mut out)?;
        }
        let (rest, decoded) = splicer.finish()?;
        assert_eq!(decoded, out.len() as u64);
        Ok((rest, out))
    }

    #[test]
    fn the_string_is_taken_out_and_everything_else_is_kept() {
        let body = br#"{"data": {"id": "a\"b", "full_audio": "aGVs\/\u002b\n bGbA==", "after": [1, {"full_audio": "x"}]}, "full_audio": "y"}"#;
        let (rest, audio) = splice(&[body]).unwrap();
        assert_eq!(audio, STANDARD.decode("aGVs/+bGbA==").unwrap());
        let kept = r#"{"data": {"id": "a\"b", "full_audio": "", "after": [1, {"full_audio": "x"}]}, "full_audio": "y"}"#;
        assert_eq!(String::from_utf8(rest).unwrap(), kept);
    }

    #[test]
    fn a_name_may_be_written_with_escapes() {
        let (rest, audio) = splice(&[br#"{"d\u0061ta":{"full_audio":"aGk="}}"#]).unwrap();
        assert_eq!(audio, b"hi");
        assert_eq!(serde_json::from_slice::<Value>(&rest).unwrap(), json!({"data": {"full_audio": ""}}));
    }

    #[test]
    fn another_type_at_the_path_is_kept() {
        for body in [r#"{"data":{"full_audio":null}}"#, r#"{"data":["full_audio","x"]}"#, r#"[{"data":{"full_audio":"x"}}]"#, "7"]
        {
            assert_eq!(splice(&[body.as_bytes()]).unwrap(), (body.as_bytes().to_vec(), vec![]), "{body}");
        }
    }

    #[test]
    fn broken_bodies_are_refused() {
        let broken = [
            (r#"{"data":{"full_audio":"a*b="}}"#, SpliceError::NotBase64),
            (r#"{"data":{"full_audio":"aGk=aGk="}}"#, SpliceError::NotBase64),
            (r#"{"data":{"full_audio":"aGk=="}}"#, SpliceError::NotBase64),
            (r#"{"data":{"full_audio":"a"}}"#, SpliceError::NotBase64),
            (r#"{"data":{"full_audio":"=="}}"#, SpliceError::NotBase64),
            (r#"{"data":{"full_audio":"\u00e4"}}"#, SpliceError::NotBase64),
            (r#"{"data":{"full_audio":"aGk"#, SpliceError::Unterminated),
            (r#"{"data":{"x":"aGk"#, SpliceError::Unterminated),
            (r#"{"data":{"full_audio":"aGk="}"#, SpliceError::Unterminated),
            (r#"{"data":{"full_audio":"aGk=","full_audio":"aGk="}}"#, SpliceError::Repeated),
            (r#"}"#, SpliceError::BadNesting),
            (r#"{]"#, SpliceError::BadNesting),
        ];
        for (body, expected) in broken {
            assert_eq!(splice(&[body.as_bytes()]), Err(expected), "{body}");
        }
        assert_eq!(splice(&["[".repeat(129).as_bytes()]), Err(SpliceError::BadNesting));
        let mut small = Splicer::new(PATH, 8);
        assert_eq!(small.feed(b"{\"data\":12345}", &mut Vec::new()), Err(SpliceError::RestTooLarge(8)));
    }

    proptest! {
        #[test]
        fn where_the_body_is_cut_makes_no_difference(
            audio in prop::collection::vec(any::<u8>(), 0..200),
            padded in any::<bool>(),
            note in "\\PC{0,20}",
            slashes in any::<bool>(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut encoded = STANDARD.encode(&audio);
            if !padded {
                encoded = encoded.trim_end_matches('=').to_owned();
            }
            let value = json!({"note": note, "data": {"note": note, "full_audio": encoded, "list": [{"data": note}]}, "type": "x"});
            let mut body = value.to_string();
            if slashes {
                body = body.replace('/', "\\/");
            }
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len())).collect();
            places.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for place in places {
                chunks.push(&body.as_bytes()[from..place]);
                from = place;
            }
            chunks.push(&body.as_bytes()[from..]);

            let (rest, decoded) = splice(&chunks).unwrap();
            prop_assert_eq!(decoded, audio);
            let mut expected = value;
            expected["data"]["full_audio"] = json!("");
            prop_assert_eq!(serde_json::from_slice::<Value>(&rest).unwrap(), expected);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in any::<prop::sample::Index>()) {
            let cut = cut.index(bytes.len() + 1);
            let _ = splice(&[&bytes[..cut], &bytes[cut..]]);
        }
    }
}
