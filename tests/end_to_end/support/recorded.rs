//! Recorded pushes of `tests/fixtures/pubsub`: request line, headers and body as they crossed the wire.

use std::path::PathBuf;

use serde_json::Value;

/// One recorded request.
#[derive(Debug)]
pub struct Recorded {
    pub case: String,
    /// `/basic/s204?token=abc`
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

pub fn recording_path(case: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pubsub")).join(format!("{case}.json"))
}

/// Every recording there is.
pub fn recordings() -> Vec<Recorded> {
    let directory = recording_path("any");
    let files = std::fs::read_dir(directory.parent().unwrap()).unwrap();
    files.map(|file| read(&std::fs::read_to_string(file.unwrap().path()).unwrap())).collect()
}

pub fn recording(case: &str) -> Recorded {
    read(&std::fs::read_to_string(recording_path(case)).unwrap())
}

fn read(text: &str) -> Recorded {
    let recorded: Value = serde_json::from_str(text).unwrap();
    assert_eq!(recorded["body_encoding"], "utf-8");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let headers = recorded["headers"].as_array().unwrap().iter();
    let body = text(&recorded["body"]).into_bytes();
    let headers: Vec<_> = headers.map(|pair| (text(&pair[0]), text(&pair[1]))).collect();
    let length = headers.iter().find(|(name, _)| name == "Content-Length").unwrap();
    assert_eq!(length.1, body.len().to_string(), "the body is the recorded one, byte by byte");
    let target = recorded["request_line"].as_str().unwrap().split(' ').nth(1).unwrap();
    let query = target.split_once('?').map_or_else(String::new, |(_, query)| format!("?{query}"));
    Recorded { case: text(&recorded["case"]), query, headers, body }
}

impl Recorded {
    /// All headers but those that belong to the connection that it came by.
    pub fn message_headers(&self) -> Vec<(&str, &str)> {
        let of_connection = ["Host", "Connection", "Content-Length"];
        let headers = self.headers.iter().filter(|(name, _)| !of_connection.contains(&name.as_str()));
        headers.map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}
