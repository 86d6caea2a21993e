//! Pages of lists, as AIP-158 has them.

use colloquy_service::Problem;
use colloquy_storage::PageTokens;
use serde::Serialize;
use serde::de::DeserializeOwned;

const DEFAULT_PAGE_SIZE: u32 = 30;
const MAX_PAGE_SIZE: u32 = 100;

/// Reads a page size: 0 means the default, more than the most is read as the most.
pub(crate) fn size(page_size: i32) -> Result<u32, Problem> {
    match u32::try_from(page_size) {
        Ok(0) => Ok(DEFAULT_PAGE_SIZE),
        Ok(size) => Ok(size.min(MAX_PAGE_SIZE)),
        Err(_) => Err(Problem::invalid_field("page_size", "must not be negative; at most 100")),
    }
}

/// Reads a page token of the list that `request` describes; an empty one means the first page.
pub(crate) fn after<T: DeserializeOwned>(
    tokens: &PageTokens,
    request: &impl Serialize,
    token: &str,
) -> Result<Option<T>, Problem> {
    if token.is_empty() {
        return Ok(None);
    }
    tokens.open(request, token).map(Some).map_err(|error| Problem::invalid_field("page_token", error.to_string()))
}

/// Cuts `found`, read with one more than `size`, to a page, and returns the token of the next one.
pub(crate) fn cut<T, P: Serialize>(
    tokens: &PageTokens,
    request: &impl Serialize,
    found: &mut Vec<T>,
    size: u32,
    place: impl Fn(&T) -> P,
) -> String {
    let size = size as usize;
    if found.len() <= size {
        return String::new();
    }
    found.truncate(size);
    found.last().map(|last| tokens.seal(request, &place(last))).unwrap_or_default()
}
