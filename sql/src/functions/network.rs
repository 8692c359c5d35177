//! Addresses in networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::formats::is_host;

pub(super) fn is_ipv4(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok()
}

pub(super) fn is_ipv6(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok()
}

/// Whether it is an address and the length of its network's prefix: `10.0.0.0/8`.
pub(super) fn is_cidr(text: &str) -> bool {
    let Some((address, prefix)) = text.split_once('/') else {
        return false;
    };
    let most = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    let digits = prefix.bytes().all(|b| b.is_ascii_digit());
    digits
        && (prefix == "0" || !prefix.starts_with('0'))
        && prefix.parse::<u8>().is_ok_and(|n| n <= most)
}

/// Whether it is six pairs of hexadecimal digits with `:` or `-` between them.
pub(super) fn is_mac(text: &str) -> bool {
    [':', '-'].into_iter().any(|mark| {
        let pairs: Vec<&str> = text.split(mark).collect();
        let pair = |pair: &&str| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
        pairs.len() == 6 && pairs.iter().all(pair)
    })
}

/// Whether it is `scheme://host[:port][/path]`, with a host that is a name or an address.
pub(super) fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let clean = !text
        .chars()
        .any(|c| c.is_whitespace() || c.is_control() || "<>\"{}|\\^`".contains(c));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let place = authority.rsplit('@').next().unwrap_or_default();
    scheme_fits && clean && is_place(place)
}

/// Whether it is a host, perhaps with a port.
fn is_place(place: &str) -> bool {
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    if let Some(rest) = place.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        return is_ipv6(address)
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let is_known = |host: &str| is_host(host) || is_ipv4(host);
    match place.split_once(':') {
        Some((host, port)) => is_known(host) && is_port(port),
        None => is_known(place),
    }
}
