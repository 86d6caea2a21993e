//! Which URLs and addresses may be reached.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use url::{Host, Url};

use crate::Refused;
use crate::address::{self, Embedded};
use crate::resolver::{Lookup, SystemLookup};

/// A name that takes longer to resolve does not resolve.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Which addresses may be reached: the public internet and the networks listed.
///
/// Parsed from comma-separated CIDRs (`COLLOQUY_OUTBOUND_ALLOW_NETWORKS`); a bare address stands for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    allow: Vec<IpNet>,
}

/// An entry of the list is not a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{entry:?} is not a network like 10.0.0.0/8 or fd00::/8")]
pub struct BadNetwork {
    /// The entry as it was written.
    pub entry: String,
}

impl Policy {
    /// Returns a policy that allows the public internet and these networks.
    pub fn new(allow: impl IntoIterator<Item = IpNet>) -> Self {
        Self { allow: allow.into_iter().map(canonical_network).collect() }
    }

    /// Returns whether an address may be reached.
    ///
    /// An address that stands for another (IPv4-mapped, NAT64, 6to4, Teredo) may be when the other may.
    pub fn allows(&self, ip: IpAddr) -> bool {
        let ip = address::canonical(ip);
        if self.lists(ip) {
            return true;
        }
        match ip {
            IpAddr::V4(ip) => address::is_public_v4(ip),
            IpAddr::V6(ip) => match address::embedded_v4(ip) {
                Embedded::None => address::is_public_v6(ip),
                Embedded::One(target) => self.allows_v4(target),
                Embedded::Two(relay, target) => self.allows_v4(relay) && self.allows_v4(target),
            },
        }
    }

    /// Checks a URL that somebody asks to have requested: now, as it resolves now. A [`Client`](crate::Client) checks again
    /// when it connects, since names change.
    ///
    /// # Errors
    ///
    /// When the scheme is not `http` or `https`, the URL carries credentials, or the host does not resolve or has an address
    /// that is not allowed.
    pub async fn check_url(&self, url: &Url) -> Result<(), Refused> {
        self.check_url_with(&SystemLookup, url).await
    }

    pub(crate) async fn check_url_with(&self, lookup: &dyn Lookup, url: &Url) -> Result<(), Refused> {
        let Some(name) = self.check_form(url)? else { return Ok(()) };
        let addresses = match tokio::time::timeout(LOOKUP_TIMEOUT, lookup.lookup(name)).await {
            Ok(Ok(addresses)) if !addresses.is_empty() => addresses,
            _ => return Err(Refused::Unresolvable(name.to_owned())),
        };
        if addresses.into_iter().all(|ip| self.allows(ip)) { Ok(()) } else { Err(Refused::Address(name.to_owned())) }
    }

    /// Checks what can be seen without asking anybody, and returns the name that is still to be resolved, if it is one.
    pub(crate) fn check_form<'a>(&self, url: &'a Url) -> Result<Option<&'a str>, Refused> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refused::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::Credentials);
        }
        // A connector does not ask its resolver about an address, so this is the only place where one is checked.
        let ip = match url.host() {
            None | Some(Host::Domain("")) => return Err(Refused::NoHost),
            Some(Host::Domain(name)) => return Ok(Some(name)),
            Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
            Some(Host::Ipv6(ip)) => IpAddr::V6(ip),
        };
        if self.allows(ip) { Ok(None) } else { Err(Refused::Address(ip.to_string())) }
    }

    fn allows_v4(&self, ip: Ipv4Addr) -> bool {
        self.lists(IpAddr::V4(ip)) || address::is_public_v4(ip)
    }

    fn lists(&self, ip: IpAddr) -> bool {
        self.allow.iter().any(|network| network.contains(&ip))
    }
}

/// Addresses are compared in their canonical spelling, so a network of IPv4-mapped addresses has to be listed in it too.
fn canonical_network(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    match (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
        (Some(ip), Some(prefix)) => Ipv4Net::new(ip, prefix).map_or(network, IpNet::V4),
        _ => network,
    }
}

impl FromStr for Policy {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let networks: Result<Vec<IpNet>, BadNetwork> = entries.map(parse_network).collect();
        Ok(Self::new(networks?))
    }
}

fn parse_network(entry: &str) -> Result<IpNet, BadNetwork> {
    let network = entry.parse::<IpNet>().ok().or_else(|| entry.parse::<IpAddr>().ok().map(IpNet::from));
    network.ok_or_else(|| BadNetwork { entry: entry.to_owned() })
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, network) in self.allow.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{network}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Policy {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// First and last address of every range that is not the public internet.
    #[rustfmt::skip]
    const SPECIAL: &[&str] = &[
        // "this" network, private, shared (CGNAT), loopback, link-local with the metadata services
        "0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.0", "127.0.0.1",
        "127.255.255.255", "169.254.0.0", "169.254.169.254", "169.254.255.255", "172.16.0.0", "172.31.255.255",
        "192.168.0.0", "192.168.255.255",
        // IETF assignments, documentation, 6to4 relay, AS112, benchmarking
        "192.0.0.0", "192.0.0.192", "192.0.0.255", "192.0.2.0", "192.0.2.255", "192.31.196.1", "192.52.193.1",
        "192.88.99.0", "192.88.99.255", "192.175.48.1", "198.18.0.0", "198.19.255.255", "198.51.100.0", "198.51.100.255",
        "203.0.113.0", "203.0.113.255",
        // multicast, reserved, broadcast
        "224.0.0.0", "239.255.255.255", "240.0.0.0", "255.255.255.254", "255.255.255.255",
        // unspecified, loopback, IPv4-compatible
        "::", "::1", "::2", "::7f00:1", "::8.8.8.8", "::ffff:ffff",
        // IPv4-mapped
        "::ffff:0.0.0.0", "::ffff:10.0.0.1", "::ffff:100.64.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
        "::ffff:192.168.1.1", "::ffff:224.0.0.1", "::ffff:255.255.255.255",
        // NAT64 of internal addresses, NAT64 for local use
        "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::", "64:ff9b:1::8.8.8.8",
        "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
        // 6to4 of 127.0.0.1, 10.0.0.1, 192.168.0.1, 169.254.169.254
        "2002:7f00:1::", "2002:7f00:1::1", "2002:a00:1::", "2002:c0a8:1::1", "2002:a9fe:a9fe::",
        // Teredo: server 127.0.0.1 with client 8.8.8.8; server 8.8.8.8 with client 127.0.0.1, 10.0.0.1
        "2001:0:7f00:1:0:0:f7f7:f7f7", "2001:0:808:808:0:0:80ff:fffe", "2001:0:808:808:0:0:f5ff:fffe",
        // discard, dummy, IETF assignments, benchmarking, ORCHID, documentation, SRv6
        "100::", "100::ffff:ffff:ffff:ffff", "100:0:0:1::", "2001:1::1", "2001:2::", "2001:2:0:ffff::", "2001:10::",
        "2001:1f:ffff::", "2001:20::", "2001:2f:ffff::", "2001:1ff:ffff::", "2001:db8::",
        "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2620:4f:8000::1", "3fff::", "3fff:fff:ffff::", "5f00::1",
        // unallocated, unique-local with a metadata service, link-local, site-local, multicast
        "200::1", "4000::1", "8000::1", "fc00::", "fd00::1", "fd00:ec2::254", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "fe80::", "fe80::1", "febf:ffff::", "fec0::1", "feff:ffff::", "ff00::", "ff02::1",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ];

    /// Public addresses, among them the neighbours of the special ranges.
    #[rustfmt::skip]
    const PUBLIC: &[&str] = &[
        "1.0.0.0", "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
        "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0",
        "192.88.98.255", "192.88.100.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255",
        "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255", "2000::", "2001:200::1", "2001:4860:4860::8888",
        "2001:db7:ffff::1", "2001:db9::1", "2003::1", "2606:4700::1111", "2620:4f:7fff::1", "2620:4f:8001::1",
        "3ffe:ffff::1", "3fff:1000::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1",
        "2001:0:808:808:0:0:f7f7:f7f7",
    ];

    #[test]
    fn no_special_address_is_allowed_unless_listed() {
        let empty = Policy::default();
        for text in SPECIAL {
            assert!(!empty.allows(ip(text)), "{text} is allowed");
            assert!(policy(text).allows(ip(text)), "{text} is refused although listed");
        }
    }

    #[test]
    fn public_addresses_are_allowed() {
        for text in PUBLIC {
            assert!(Policy::default().allows(ip(text)), "{text} is refused");
        }
    }

    #[test]
    fn a_listed_network_allows_every_spelling_of_its_addresses() {
        let policy = policy("10.1.0.0/16");
        for text in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "2002:a01:203::1"] {
            assert!(policy.allows(ip(text)), "{text} is refused");
        }
        for text in ["10.2.0.1", "::ffff:10.2.0.1", "64:ff9b::10.2.0.1", "127.0.0.1"] {
            assert!(!policy.allows(ip(text)), "{text} is allowed");
        }
    }

    #[test]
    fn a_network_of_mapped_addresses_is_the_ipv4_network() {
        assert_eq!(policy("::ffff:10.0.0.0/104"), policy("10.0.0.0/8"));
        assert!(!policy("::/0").allows(ip("::ffff:127.0.0.1")), "listing all of IPv6 does not open IPv4");
    }

    #[test]
    fn the_list_may_have_blanks_and_empty_entries() {
        let parsed = policy(" 127.0.0.0/8, ,::1/128,10.0.0.1 ,");
        assert_eq!(parsed.to_string(), "127.0.0.0/8,::1/128,10.0.0.1/32");
        assert_eq!(policy(&parsed.to_string()), parsed);
        assert_eq!(policy(""), Policy::default());
    }

    #[test]
    fn a_bad_entry_is_named() {
        for (list, entry) in [("10.0.0.0/8,10.0.0.0/33", "10.0.0.0/33"), ("localhost", "localhost"), ("1.2.3/8", "1.2.3/8")] {
            let error = list.parse::<Policy>().unwrap_err();
            assert_eq!(error.entry, entry);
            assert!(error.to_string().contains(entry), "{error}");
        }
    }

    #[tokio::test]
    async fn urls_of_other_schemes_or_with_credentials_are_refused() {
        let check = |text: &str| Policy::default().check_form(&Url::parse(text).unwrap()).map(|_| ());
        assert_eq!(check("ftp://1.1.1.1/"), Err(Refused::Scheme("ftp".into())));
        assert_eq!(check("file:///etc/passwd"), Err(Refused::Scheme("file".into())));
        assert_eq!(check("gopher://1.1.1.1"), Err(Refused::Scheme("gopher".into())));
        assert_eq!(check("data:text/plain,x"), Err(Refused::Scheme("data".into())));
        assert_eq!(check("https://user@1.1.1.1/"), Err(Refused::Credentials));
        assert_eq!(check("https://:secret@1.1.1.1/"), Err(Refused::Credentials));
        assert_eq!(check("https://1.1.1.1/a?b=c"), Ok(()));
    }

    #[tokio::test]
    async fn every_spelling_of_an_internal_address_is_refused() {
        for text in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://127.0.0.1./",
            "http://%31%32%37.0.0.1/",
            "http://①②⑦.0.0.1/",
            "http://0/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]:8080/",
            "http://[64:ff9b::7f00:1]/",
            "http://169.254.169.254/latest/meta-data/",
            "http://[fd00:ec2::254]/",
        ] {
            let refused = Policy::default().check_url(&Url::parse(text).unwrap()).await;
            assert!(matches!(refused, Err(Refused::Address(_))), "{text}: {refused:?}");
        }
    }

    #[tokio::test]
    async fn names_are_refused_by_what_they_resolve_to() {
        let url = Url::parse("http://localhost:8080/").unwrap();
        assert_eq!(Policy::default().check_url(&url).await, Err(Refused::Address("localhost".into())));
        assert_eq!(policy("127.0.0.0/8,::1/128").check_url(&url).await, Ok(()));
        let unknown = Url::parse("https://no-such-host.invalid/").unwrap();
        assert_eq!(Policy::default().check_url(&unknown).await, Err(Refused::Unresolvable("no-such-host.invalid".into())));
    }
}
