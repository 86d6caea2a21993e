//! Which addresses lie in the public internet.
//!
//! Follows the IANA special-purpose registries, stricter where they leave a choice: what is not plainly public is not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv6 address that leads to an IPv4 one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Embedded {
    /// None is embedded.
    None,
    /// Packets end up at this address (NAT64, 6to4).
    One(Ipv4Addr),
    /// Packets pass the first and end up at the second (Teredo: server and client).
    Two(Ipv4Addr, Ipv4Addr),
}

/// Returns the address a connection really goes to: an IPv4-mapped address is that IPv4 address under another spelling.
pub(crate) fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// Returns whether an IPv4 address is an ordinary public unicast address.
pub(crate) fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = match a {
        0 | 10 | 127 => true,
        100 => b & 0b1100_0000 == 64,
        169 => b == 254,
        172 => b & 0b1111_0000 == 16,
        // IETF protocol assignments, documentation, AS112, the former 6to4 relay, private, AS112 again.
        192 => matches!((b, c), (0, 0) | (0, 2) | (31, 196) | (52, 193) | (88, 99) | (168, _) | (175, 48)),
        // Benchmarking, documentation.
        198 => b & 0b1111_1110 == 18 || (b, c) == (51, 100),
        203 => (b, c) == (0, 113),
        // Multicast, reserved, broadcast.
        224.. => true,
        _ => false,
    };
    !special
}

/// Returns whether an IPv6 address is an ordinary public unicast address, without regard to any address embedded in it.
///
/// Only `2000::/3` is handed out as such, so everything else (loopback, unique-local, link-local, site-local, multicast,
/// discard, IPv4-compatible, local NAT64) needs no list of its own.
pub(crate) fn is_public_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    let global_unicast = segments[0] & 0xe000 == 0x2000;
    let special = match segments {
        // IETF protocol assignments (Teredo among them), documentation.
        [0x2001, b, ..] => b < 0x0200 || b == 0x0db8,
        // AS112.
        [0x2620, 0x004f, 0x8000, ..] => true,
        // Documentation.
        [0x3fff, b, ..] => b < 0x1000,
        _ => false,
    };
    global_unicast && !special
}

/// Returns the IPv4 addresses that a translated or tunnelled IPv6 address leads to.
pub(crate) fn embedded_v4(ip: Ipv6Addr) -> Embedded {
    let s = ip.segments();
    match s {
        [0x0064, 0xff9b, 0, 0, 0, 0, high, low] => Embedded::One(v4(high, low)),
        [0x2002, high, low, ..] => Embedded::One(v4(high, low)),
        [0x2001, 0, server_high, server_low, _, _, high, low] => Embedded::Two(v4(server_high, server_low), v4(!high, !low)),
        _ => Embedded::None,
    }
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}
