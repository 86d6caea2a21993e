//! What a recording's bytes are. Senders are often wrong about it, its first bytes never are.

/// What a recording of unknown kind is called.
pub(crate) const UNKNOWN: &str = "application/octet-stream";

/// How many bytes from the beginning tell what can be told.
pub(crate) const HEAD_BYTES: usize = 4096;

/// Returns the media type the first bytes of a recording give away.
pub(crate) fn sniff(head: &[u8]) -> Option<&'static str> {
    let at = |offset: usize, mark: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(mark));
    if at(0, b"RIFF") && at(8, b"WAVE") {
        Some("audio/wav")
    } else if at(0, b"ID3") {
        Some("audio/mpeg")
    } else if at(0, b"OggS") {
        Some("audio/ogg")
    } else if at(0, b"fLaC") {
        Some("audio/flac")
    } else if at(0, b"#!AMR") {
        Some("audio/amr")
    } else if at(4, b"ftyp") {
        Some(if at(8, b"M4A ") || at(8, b"M4B ") { "audio/mp4" } else { "video/mp4" })
    } else if at(0, &[0x1a, 0x45, 0xdf, 0xa3]) {
        head.iter().take(64).copied().collect::<Vec<u8>>().windows(4).any(|word| word == b"webm").then_some("audio/webm")
    } else {
        sniff_frame(head)
    }
}

/// Tells MPEG audio and AAC by the header of their first frame.
fn sniff_frame(head: &[u8]) -> Option<&'static str> {
    let &[sync, flags, rates, ..] = head else { return None };
    if sync != 0xff || flags & 0xe0 != 0xe0 {
        return None;
    }
    let (version, layer) = (flags >> 3 & 0b11, flags >> 1 & 0b11);
    match (version, layer) {
        (0b01, _) => None,
        (0b10 | 0b11, 0b00) if flags & 0xf0 == 0xf0 => Some("audio/aac"),
        // Layer I is no kind of recording, but its sync is how a text in UTF-16 begins.
        (_, 0b00 | 0b11) => None,
        // Neither the bit rate nor the sampling rate may have its forbidden value.
        _ if rates >> 4 != 0b1111 && rates >> 2 & 0b11 != 0b11 => Some("audio/mpeg"),
        _ => None,
    }
}

/// Returns the media type of a recording: what its bytes say, or else the first of `claims` that names a kind of recording.
/// Where the bytes only tell the container, a claim that fits says what is in it.
pub(crate) fn settle(sniffed: Option<&'static str>, claims: &[&str]) -> Option<String> {
    let mut claims = claims.iter().filter_map(|claim| named(claim));
    match sniffed {
        None => claims.next(),
        Some(container @ ("video/mp4" | "audio/webm")) => {
            let fitting = claims.find(|claim| is_same_container(container, claim));
            Some(fitting.unwrap_or_else(|| container.to_owned()))
        }
        Some(exact) => Some(exact.to_owned()),
    }
}

fn is_same_container(container: &str, claim: &str) -> bool {
    match container {
        "video/mp4" => matches!(claim, "audio/mp4" | "audio/m4a" | "audio/x-m4a" | "video/mp4"),
        _ => matches!(claim, "audio/webm" | "video/webm"),
    }
}

/// Returns the media type without its parameters when it names a kind of recording.
pub(crate) fn named(claim: &str) -> Option<String> {
    let essence = essence(claim)?;
    let (kind, _) = essence.split_once('/')?;
    (kind == "audio" || matches!(essence.as_str(), "video/mp4" | "video/webm" | "application/ogg")).then_some(essence)
}

/// Returns the media type in lower case and without its parameters, when it is well-formed.
pub(crate) fn essence(claim: &str) -> Option<String> {
    let essence = claim.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_token =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte));
    let (kind, subtype) = essence.split_once('/')?;
    (is_token(kind) && is_token(subtype) && essence.len() <= 127).then_some(essence)
}

/// Returns how long a recording of `size` bytes is, in milliseconds, when its head says so exactly.
pub(crate) fn duration_ms(head: &[u8], size: u64) -> Option<i64> {
    match sniff(head)? {
        "audio/wav" => wav_duration_ms(head, size),
        "audio/flac" => flac_duration_ms(head),
        _ => None,
    }
}

fn wav_duration_ms(head: &[u8], size: u64) -> Option<i64> {
    let mut offset = 12;
    let mut bytes_per_second = None;
    loop {
        let chunk = head.get(offset..)?;
        let (name, rest) = chunk.split_first_chunk::<4>()?;
        let (length, body) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length);
        if name == b"data" {
            let present = size.checked_sub(offset as u64 + 8)?;
            // A writer that streams does not know the length yet and writes 0 or the greatest number instead.
            let data = if length == 0 { present } else { present.min(u64::from(length)) };
            return millis(data, bytes_per_second?);
        }
        if name == b"fmt " {
            bytes_per_second = body.get(8..12).and_then(|rate| rate.try_into().ok()).map(u32::from_le_bytes).map(u64::from);
        }
        // Chunks are padded to even lengths.
        offset = offset.checked_add(8)?.checked_add(usize::try_from(length).ok()?)?.checked_add(length as usize & 1)?;
    }
}

fn flac_duration_ms(head: &[u8]) -> Option<i64> {
    // STREAMINFO is always the first block: 20 bits of sampling rate, 3 of channels, 5 of sample size, 36 of sample count.
    let packed = u64::from_be_bytes(head.get(18..26)?.try_into().ok()?);
    let (rate, samples) = (packed >> 44, packed & ((1 << 36) - 1));
    if samples == 0 { None } else { millis(samples, rate) }
}

fn millis(amount: u64, per_second: u64) -> Option<i64> {
    let millis = (u128::from(amount) * 1000).checked_div(u128::from(per_second))?;
    i64::try_from(millis).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_give_the_media_type_away() {
        let cases: [(&[u8], Option<&str>); 14] = [
            (b"RIFF\x24\0\0\0WAVEfmt ", Some("audio/wav")),
            (b"RIFF\x24\0\0\0AVI LIST", None),
            (b"ID3\x04\0\0", Some("audio/mpeg")),
            (&[0xff, 0xfb, 0x90, 0x64], Some("audio/mpeg")),
            (&[0xff, 0xf1, 0x50, 0x80], Some("audio/aac")),
            (&[0xff, 0xff, 0xff, 0xff], None),
            (&[0xff, 0xfe, b'h', 0], None),
            (b"OggS\0\x02", Some("audio/ogg")),
            (b"fLaC\0\0\0\x22", Some("audio/flac")),
            (b"\0\0\0\x20ftypM4A \0", Some("audio/mp4")),
            (b"\0\0\0\x20ftypisom\0", Some("video/mp4")),
            (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm", Some("audio/webm")),
            (b"<!DOCTYPE html>", None),
            (b"", None),
        ];
        for (head, expected) in cases {
            assert_eq!(sniff(head), expected, "{head:?}");
        }
    }

    #[test]
    fn a_claim_counts_only_where_the_bytes_are_silent_or_tell_the_container() {
        let settled = |sniffed, claims: &[&str]| settle(sniffed, claims);
        assert_eq!(settled(Some("audio/wav"), &["audio/mpeg"]).as_deref(), Some("audio/wav"));
        assert_eq!(settled(Some("video/mp4"), &["Audio/X-M4A; a=b"]).as_deref(), Some("audio/x-m4a"));
        assert_eq!(settled(Some("video/mp4"), &["audio/mpeg"]).as_deref(), Some("video/mp4"));
        assert_eq!(settled(None, &["application/octet-stream", "audio/basic"]).as_deref(), Some("audio/basic"));
        assert_eq!(settled(None, &["text/html", "audio/", "audio/a\r\nb", UNKNOWN]), None);
    }

    fn wav(data_length: u32, extra: &[u8]) -> Vec<u8> {
        let mut wav = b"RIFF\0\0\0\0WAVE".to_vec();
        wav.extend(extra);
        wav.extend(b"fmt \x10\0\0\0\x01\0\x01\0");
        wav.extend(8000_u32.to_le_bytes());
        wav.extend(16000_u32.to_le_bytes());
        wav.extend([2, 0, 16, 0]);
        wav.extend(b"data");
        wav.extend(data_length.to_le_bytes());
        wav
    }

    #[test]
    fn a_wav_header_tells_the_duration() {
        let head = wav(24_000, b"");
        assert_eq!(duration_ms(&head, head.len() as u64 + 24_000), Some(1500));
        let padded = wav(24_000, b"LIST\x03\0\0\0abc\0");
        assert_eq!(duration_ms(&padded, padded.len() as u64 + 24_000), Some(1500));
    }

    #[test]
    fn a_length_that_a_streaming_writer_could_not_know_is_taken_from_the_size() {
        for unknown in [0, u32::MAX] {
            let head = wav(unknown, b"");
            assert_eq!(duration_ms(&head, head.len() as u64 + 8_000), Some(500));
        }
    }

    #[test]
    fn a_flac_header_tells_the_duration() {
        let mut head = b"fLaC\0\0\0\x22\x10\0\x10\0\0\0\0\0\0\0".to_vec();
        head.extend(((16_000_u64 << 44) | (1 << 41) | (15 << 36) | 40_000).to_be_bytes());
        assert_eq!(duration_ms(&head, 1_000_000), Some(2500));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_too_odd_to_look_at(mut head: Vec<u8>, mark in 0..4_usize, size: u64) {
            head.splice(0..0, [&b""[..], b"RIFF\0\0\0\0WAVE", b"fLaC", b"\xff"][mark].iter().copied());
            sniff(&head);
            duration_ms(&head, size);
        }
    }
}
