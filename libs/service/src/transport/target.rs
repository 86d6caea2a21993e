//! Where a service is.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::uri::{Authority, Scheme};

/// Where a service is: `http://host:port` or `https://host:port`. A host that has several addresses stands for all of them, as
/// a headless Kubernetes service does; and several places may be named, separated by commas: `http://10.0.0.1:50051,10.0.0.2:50051`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    scheme: Scheme,
    hosts: Vec<Host>,
}

/// One of a target's places, before its name is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// As it stands in a request.
    pub(super) authority: Authority,
    pub(super) port: u16,
}

/// A text is no [`Target`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be an address such as http://host:50051 or https://host:50051, or several: http://host:50051,other:50051")]
pub struct TargetError;

impl Target {
    /// Returns whether it is to be reached over TLS.
    pub fn is_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    pub(super) fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    pub(super) fn hosts(&self) -> &[Host] {
        &self.hosts
    }
}

impl Host {
    /// Returns the name, an IPv6 address without its brackets.
    pub(super) fn name(&self) -> &str {
        let host = self.authority.host();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// Returns whether it is an address, which nobody has to look up.
    pub(super) fn is_literal(&self) -> bool {
        self.name().parse::<IpAddr>().is_ok()
    }

    fn parse(text: &str, scheme: &Scheme) -> Result<Self, TargetError> {
        let authority: Authority = text.strip_suffix('/').unwrap_or(text).parse().map_err(|_| TargetError)?;
        let default_port = if *scheme == Scheme::HTTPS { 443 } else { 80 };
        // A port that is no number is not a port, says the library, and leaves it where it is.
        let (host, after) = (authority.host(), authority.as_str().strip_prefix(authority.host()).ok_or(TargetError)?);
        let port = match after.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(TargetError)?,
            None if after.is_empty() => default_port,
            None => return Err(TargetError),
        };
        if host.is_empty() {
            return Err(TargetError);
        }
        Ok(Self { authority, port })
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (scheme, hosts) = text.trim().split_once("://").ok_or(TargetError)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::HTTP,
            "https" => Scheme::HTTPS,
            _ => return Err(TargetError),
        };
        let hosts: Result<Vec<Host>, TargetError> = hosts.split(',').map(|host| Host::parse(host.trim(), &scheme)).collect();
        Ok(Self { hosts: hosts?, scheme })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<&str> = self.hosts.iter().map(|host| host.authority.as_str()).collect();
        write!(f, "{}://{}", self.scheme, hosts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_names_one_place_or_several() {
        let target: Target = "https://[::1]:50051,transcript:50052, 10.0.0.1/".parse().unwrap();
        assert_eq!(target.to_string(), "https://[::1]:50051,transcript:50052,10.0.0.1");
        let read: Vec<(&str, u16, bool)> =
            target.hosts().iter().map(|host| (host.name(), host.port, host.is_literal())).collect();
        assert_eq!(read, [("::1", 50051, true), ("transcript", 50052, false), ("10.0.0.1", 443, true)]);
        assert!(target.is_tls());
        assert_eq!("HTTP://access".parse::<Target>().unwrap().hosts()[0].port, 80);
    }

    #[test]
    fn what_names_no_place_is_refused() {
        let bad =
            ["", "access:50051", "ftp://access", "http://", "http://a,,b", "http://user@a:1", "http://a:1/path", "http://a:0"];
        for text in bad.into_iter().chain(["http://a:99999", "http://a:", "http://a b", "http://a?x=1", "http://:50051"]) {
            assert_eq!(text.parse::<Target>(), Err(TargetError), "{text}");
        }
    }
}
