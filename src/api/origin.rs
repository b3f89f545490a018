//! On a machine without tokens every program of it is believed. Web pages are not: a browser on this
//! machine must not carry out what some page asks for, be it from another origin or under a name that
//! was made to point here (DNS rebinding).

use std::net::IpAddr;

use axum::http::{HeaderMap, StatusCode, header};

use crate::api::dto::Problem;

/// Refuses calls that a browser sends on behalf of a page.
pub(super) fn check(headers: &HeaderMap, writes: bool) -> Result<(), Problem> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = text(header::HOST);
    if let Some(host) = host
        && !is_local(host)
    {
        let detail = format!("`{}` is not a name of this machine: call 127.0.0.1", host.escape_default());
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    let same = |origin: &str| origin.split_once("://").map(|(_, rest)| rest) == host;
    let foreign = text(header::ORIGIN).is_some_and(|origin| !same(origin))
        || text(header::HeaderName::from_static("sec-fetch-site"))
            .is_some_and(|site| !matches!(site, "same-origin" | "none"));
    if writes && foreign {
        let detail = "a page of another origin changes nothing here";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    Ok(())
}

/// Whether a `Host` names this machine itself.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(writes: bool, given: &[(&str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            let name: header::HeaderName = name.parse().expect("a name");
            headers.insert(name, value.parse().expect("a value"));
        }
        check(&headers, writes).is_ok()
    }

    #[test]
    fn pages_change_nothing_and_rebound_names_read_nothing() {
        for host in ["127.0.0.1:7070", "localhost:7070", "[::1]:7070", "127.0.0.1"] {
            assert!(checked(true, &[("host", host)]), "{host}");
        }
        for host in ["evil.example:7070", "127.0.0.1.evil.example", "10.0.0.1:7070", ""] {
            assert!(!checked(false, &[("host", host)]), "{host}");
        }
        let host = ("host", "127.0.0.1:7070");
        assert!(checked(true, &[host, ("origin", "http://127.0.0.1:7070")]));
        assert!(!checked(true, &[host, ("origin", "http://127.0.0.1:3000")]));
        assert!(!checked(true, &[host, ("origin", "null")]));
        assert!(!checked(true, &[host, ("sec-fetch-site", "cross-site")]));
        assert!(
            checked(false, &[host, ("sec-fetch-site", "cross-site")]),
            "reads tell another origin nothing"
        );
    }
}
