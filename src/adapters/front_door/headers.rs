//! What a proxy does to headers: RFC 9110, section 7.6.1 (fields of one connection only) and the
//! customary `X-Forwarded-*` fields.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{self, HeaderName, HeaderValue};

/// Fields that are about one connection and are never passed on. `expect` is here because the front
/// door itself answers it when it begins to read the body.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The protocol that a message asks to change to, for example `websocket`.
pub(super) fn upgrade_of(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade")));
    if asked { headers.get(header::UPGRADE).cloned() } else { None }
}

/// Puts a change of protocol back that `strip_hop_by_hop` removed.
pub(super) fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol);
}

/// Removes what concerns one connection only, the fields that `Connection` names included.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|token| token.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Says for whom a request is forwarded; proxies in front of this one keep what they said.
pub(super) fn add_forwarded(headers: &mut HeaderMap, peer: IpAddr) {
    let peer = peer.to_string();
    let chain = match headers.get(FORWARDED_FOR).and_then(|value| value.to_str().ok()) {
        Some(before) => format!("{before}, {peer}"),
        None => peer,
    };
    if let Ok(value) = HeaderValue::from_str(&chain) {
        headers.insert(FORWARDED_FOR, value);
    }
    if let Some(host) = headers.get(header::HOST).cloned() {
        headers.entry(FORWARDED_HOST).or_insert(host);
    }
    headers.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn fields_of_one_connection_are_removed_those_it_names_too() {
        let mut fields = headers(&[
            ("connection", "close, x-private"),
            ("x-private", "1"),
            ("te", "trailers"),
            ("content-length", "3"),
        ]);
        strip_hop_by_hop(&mut fields);
        assert_eq!(fields, headers(&[("content-length", "3")]));
    }

    #[test]
    fn an_upgrade_needs_both_fields() {
        assert_eq!(upgrade_of(&headers(&[("upgrade", "websocket")])), None);
        let asked = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        assert_eq!(upgrade_of(&asked), Some(HeaderValue::from_static("websocket")));
    }

    #[test]
    fn the_chain_of_proxies_grows() {
        let mut fields = headers(&[("host", "shop"), ("x-forwarded-for", "10.0.0.1")]);
        add_forwarded(&mut fields, IpAddr::from([127, 0, 0, 1]));
        assert_eq!(fields["x-forwarded-for"], "10.0.0.1, 127.0.0.1");
        assert_eq!(fields["x-forwarded-host"], "shop");
        assert_eq!(fields["x-forwarded-proto"], "http");
    }
}
