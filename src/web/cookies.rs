//! Cookies: reads them from a request, writes them for an answer.

use axum::http::{HeaderMap, header};

/// The value of a cookie, decoded.
pub(super) fn read(headers: &HeaderMap, name: &str) -> Option<String> {
    let texts = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| decoded(value))
}

/// What `%XX` stands for.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_read_whole_and_by_their_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=1; zone=Europe%2FBerlin".parse().expect("a value"));
        headers.append(header::COOKIE, "ab=2;bad=%zz%4".parse().expect("a value"));
        let read = |name| read(&headers, name);
        assert_eq!(read("zone").as_deref(), Some("Europe/Berlin"));
        assert_eq!((read("a").as_deref(), read("ab").as_deref()), (Some("1"), Some("2")));
        assert_eq!((read("bad").as_deref(), read("b")), (Some("%zz%4"), None));
    }
}
