//! The answer to an outbound request, as the JSON in which it reaches a class.

use bytes::Bytes;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Error;
use super::class::{json, read};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Encoded {
    status: u16,
    /// Name and value, in their order.
    headers: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// Instead of `body`, when that is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// `{"status":200,"headers":[["content-type","text/plain"]],"body":"…"}`, with `bodyBase64` when the body is no UTF-8.
pub(super) fn encode(response: &http::Response<Bytes>) -> Result<Vec<u8>, Error> {
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let body = std::str::from_utf8(response.body()).ok().map(str::to_owned);
    json(&Encoded {
        status: response.status().as_u16(),
        headers: response.headers().iter().map(header).collect(),
        body_base64: body.is_none().then(|| BASE64.encode(response.body())),
        body,
    })
}

/// Reads the answer to a [`Turn::http`](super::Turn::http).
///
/// # Errors
/// `bad_request`: it is not one.
pub fn response(answer: &RawValue) -> Result<http::Response<Bytes>, Error> {
    let bad = |what: String| Error::bad_request(format!("not an HTTP response: {what}"));
    let encoded: Encoded = read(answer)?;
    let body = match (encoded.body, encoded.body_base64) {
        (Some(text), _) => text.into_bytes(),
        (None, Some(base64)) => BASE64.decode(base64.as_bytes()).map_err(|error| bad(error.to_string()))?,
        (None, None) => Vec::new(),
    };
    let mut response = http::Response::builder().status(encoded.status);
    for (name, value) in encoded.headers {
        response = response.header(name, value);
    }
    response.body(body.into()).map_err(|error| bad(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::value::to_raw_value;

    use super::*;

    fn there_and_back(response: &http::Response<Bytes>) -> (String, http::Response<Bytes>) {
        let encoded = String::from_utf8(encode(response).unwrap()).unwrap();
        let raw = RawValue::from_string(encoded.clone()).unwrap();
        (encoded, super::response(&raw).unwrap())
    }

    #[test]
    fn co3_a_response_arrives_as_it_was() {
        let sent = http::Response::builder().status(201).header("set-cookie", "a=1").header("set-cookie", "b=2");
        let (encoded, read) = there_and_back(&sent.body("ä".into()).unwrap());
        assert_eq!(encoded, r#"{"status":201,"headers":[["set-cookie","a=1"],["set-cookie","b=2"]],"body":"ä"}"#);
        assert_eq!(read.status(), 201);
        assert_eq!(read.headers().get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
        assert_eq!(read.body(), "ä");
        let (encoded, read) = there_and_back(&http::Response::new(Bytes::from_static(&[0xff, 0])));
        assert!(encoded.contains(r#""bodyBase64":"/wA=""#), "{encoded}");
        assert_eq!(read.body().as_ref(), [0xff, 0]);
        assert_eq!(response(&to_raw_value(&1).unwrap()).unwrap_err().code(), crate::protocol::Code::BadRequest);
    }
}
