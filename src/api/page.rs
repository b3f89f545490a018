//! Lists in pages: `limit` rows at a time, and a `Link` header with `rel="next"` where more follow. Its
//! `cursor` means something to the engine only.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::api::dto::Problem;

/// Rows of a page at most.
pub(super) const ROWS_MAX: usize = 1_000;
/// Rows of a page where nothing else is asked for.
pub(super) const ROWS_DEFAULT: usize = 100;

/// The number of rows that is asked for.
pub(super) fn rows(limit: Option<usize>, default: usize) -> Result<usize, Problem> {
    match limit {
        None => Ok(default),
        Some(limit) if (1..=ROWS_MAX).contains(&limit) => Ok(limit),
        Some(limit) => {
            Err(Problem::bad_request(format!("`limit` is {limit}, expected a number from 1 to {ROWS_MAX}")))
        }
    }
}

/// A place in a list, as it is sent.
pub(super) fn cursor(place: &str) -> String {
    hex::encode(place)
}

/// The place that `cursor` sent.
pub(super) fn place(cursor: Option<&str>) -> Result<Option<String>, Problem> {
    let read = |cursor: &str| {
        hex::decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(no_such_place)
    };
    cursor.map(read).transpose()
}

/// The answer to a cursor that the engine did not give.
pub(super) fn no_such_place() -> Problem {
    Problem::bad_request("`cursor` is not one that this engine gave: begin again without it")
}

/// Cuts a list that was read with one row more than a page has; tells where the next page begins.
pub(super) fn cut<T>(rows: &mut Vec<T>, limit: usize, place: impl Fn(&T) -> String) -> Option<String> {
    if rows.len() <= limit {
        return None;
    }
    rows.truncate(limit);
    rows.last().map(place)
}

/// A page of a list.
pub(super) struct Page<T> {
    /// Its rows.
    pub(super) rows: Vec<T>,
    /// The address of the next page.
    pub(super) next: Option<String>,
}

impl<T> Page<T> {
    /// The page at `uri`, and the place (by the query's parameter) where the next one begins.
    pub(super) fn new(rows: Vec<T>, uri: &Uri, next: Option<(&str, String)>) -> Self {
        Self { rows, next: next.map(|(parameter, place)| with_parameter(uri, parameter, &place)) }
    }
}

/// The address with another value of a parameter. The value needs no escaping.
fn with_parameter(uri: &Uri, parameter: &str, value: &str) -> String {
    let others = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty() && pair.split('=').next() != Some(parameter));
    let query: Vec<String> =
        others.map(str::to_owned).chain(std::iter::once(format!("{parameter}={value}"))).collect();
    format!("{}?{}", uri.path(), query.join("&"))
}

impl<T: Serialize> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        let mut response = (StatusCode::OK, Json(self.rows)).into_response();
        let link = self.next.and_then(|next| HeaderValue::try_from(format!("<{next}>; rel=\"next\"")).ok());
        if let Some(link) = link {
            response.headers_mut().insert(header::LINK, link);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_keeps_the_other_parameters() {
        let uri: Uri = "/v1/runs?limit=2&cursor=aa&workload=web".parse().expect("an address");
        let page = Page::new(vec![1, 2], &uri, Some(("cursor", "bb".to_owned())));
        assert_eq!(page.next.as_deref(), Some("/v1/runs?limit=2&workload=web&cursor=bb"));
        assert_eq!(place(Some(&cursor("web.1"))).expect("a place").as_deref(), Some("web.1"));
        assert!(place(Some("zz")).is_err());
        assert!(rows(Some(0), 5).is_err() && rows(Some(1001), 5).is_err());
    }

    #[test]
    fn a_page_is_cut_only_where_more_follows() {
        let mut rows = vec![1, 2, 3];
        assert_eq!(cut(&mut rows, 3, ToString::to_string), None);
        assert_eq!(cut(&mut rows, 2, ToString::to_string).as_deref(), Some("2"));
        assert_eq!(rows, [1, 2]);
    }
}
