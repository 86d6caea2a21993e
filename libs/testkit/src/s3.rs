//! The S3-compatible storage that tests share.

/// Returns `s3://bucket` of the storage that tests may use, from `COLLOQUY_TEST_S3_URL`; the usual AWS variables say the rest.
///
/// # Panics
/// When the variable is not set although `COLLOQUY_REQUIRE_S3` or `CI` is: tests must not pass by not running.
pub fn bucket_url() -> Option<String> {
    let url = std::env::var("COLLOQUY_TEST_S3_URL").ok().filter(|url| !url.is_empty());
    let required = ["COLLOQUY_REQUIRE_S3", "CI"].iter().any(|name| std::env::var_os(name).is_some());
    assert!(url.is_some() || !required, "COLLOQUY_TEST_S3_URL is not set; tests/run starts a server and sets it");
    url
}
