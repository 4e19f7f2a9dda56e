//! The files of `public/`, embedded in the binary.

use axum::response::{IntoResponse, Response};
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use hyper::{HeaderMap, StatusCode};
use rust_embed::{EmbeddedFile, RustEmbed};

/// Nothing but our own files, and no inline script or style.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(RustEmbed)]
#[folder = "public/"]
struct Public;

/// The page of every object.
pub(super) fn page(headers: &HeaderMap) -> Response {
    let mut response = file("index.html", headers).unwrap_or_else(|| StatusCode::NOT_FOUND.into_response());
    // The same path answers JSON to whoever asks for it.
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response
}

/// A file by its name, if there is one.
pub(super) fn file(name: &str, headers: &HeaderMap) -> Option<Response> {
    let EmbeddedFile { data, metadata } = Public::get(name)?;
    let hash = metadata.sha256_hash();
    let tag = format!("\"{:032x}\"", u128::from_be_bytes(*hash.first_chunk()?));
    let known = headers.get_all(IF_NONE_MATCH).iter().any(|value| value.as_bytes() == tag.as_bytes());
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, metadata.mimetype().to_owned())], data.into_owned()).into_response()
    };
    let headers = response.headers_mut();
    // Asked for again each time, so that a page never mixes the files of two versions.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    Some(response)
}
