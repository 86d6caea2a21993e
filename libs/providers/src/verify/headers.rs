//! Request headers as verification sees them.

use std::collections::HashMap;

use super::Rejection;

/// Request headers by lower-case name. All values are kept: a second signature beside a forged one must not go unnoticed.
#[derive(Clone, Debug, Default)]
pub struct Headers(HashMap<String, Vec<String>>);

impl Headers {
    /// Returns the value of a header, the first when there are several.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(&name.to_ascii_lowercase()).and_then(|values| values.first()).map(String::as_str)
    }

    /// Returns the value of a header that proves something: it has to be there, and once.
    pub(super) fn only(&self, name: &str) -> Result<&str, Rejection> {
        match self.0.get(&name.to_ascii_lowercase()).map(Vec::as_slice) {
            None | Some([]) => Err(Rejection::MissingHeader(name.to_owned())),
            Some([value]) => Ok(value),
            Some(_) => Err(Rejection::RepeatedHeader(name.to_owned())),
        }
    }

    /// Returns the first of `names` that is there.
    pub(super) fn first_of<'n>(&self, names: &[&'n str]) -> &'n str {
        names.iter().find(|name| self.get(name).is_some()).unwrap_or(&names[0])
    }
}

impl FromIterator<(String, String)> for Headers {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(headers: I) -> Self {
        let mut map: HashMap<String, Vec<String>> = HashMap::new();
        for (name, value) in headers {
            map.entry(name.to_ascii_lowercase()).or_default().push(value);
        }
        Self(map)
    }
}
