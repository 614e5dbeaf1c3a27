//! A sink of notifications: reads requests, keeps them, and answers as a test says, by bytes.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

/// A part of every sink's URL that nobody but the sink may see.
pub const SECRET: &str = "T0SECRETPATH";

/// What a sink does with a request.
#[derive(Debug, Clone)]
pub enum Does {
    /// Answers these bytes and closes.
    Answers(String),
    /// Answers the head, and then a body of so many bytes.
    Large(u16, usize),
    /// Answers the head, and then a body without an end.
    Endless(u16),
    /// Answers the head, and never the body.
    Stalls(u16),
    /// Never answers.
    Hangs,
    /// Closes the connection.
    Closes,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Lower case.
    pub head: String,
    pub body: Value,
}

/// A running sink: a thread for each connection.
pub struct Sink {
    pub url: String,
    does: Arc<Mutex<Does>>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Does {
    /// A whole answer, with headers that each end with a line break.
    pub fn answer(status: u16, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::Answers(format!("HTTP/1.1 {status} Status\r\n{headers}content-length: {length}\r\n\r\n{body}"))
    }
}

impl Sink {
    pub fn start(does: Does) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}/services/{SECRET}?sig={SECRET}", listener.local_addr().unwrap());
        let sink = Self { url, does: Arc::new(Mutex::new(does)), received: Arc::default() };
        let (does, received) = (Arc::clone(&sink.does), Arc::clone(&sink.received));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (does, received) = (does.lock().clone(), Arc::clone(&received));
                // A client may go at any time.
                std::thread::spawn(move || serve(stream?, does, &received));
            }
        });
        sink
    }

    pub fn now_does(&self, does: Does) {
        *self.does.lock() = does;
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().clone()
    }
}

fn serve(mut stream: TcpStream, does: Does, received: &Mutex<Vec<Received>>) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut read_more = |stream: &mut TcpStream| {
        let mut part = [0; 4096];
        let read = stream.read(&mut part)?;
        request.extend_from_slice(&part[..read]);
        if read == 0 { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok::<_, std::io::Error>(request.clone()) }
    };
    let (head, body) = loop {
        let so_far = read_more(&mut stream)?;
        let text = String::from_utf8_lossy(&so_far).to_lowercase();
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
        let body = &so_far[head.len() + 4..];
        if body.len() == length.parse::<usize>().unwrap() {
            break (head.to_owned(), serde_json::from_slice(body).unwrap());
        }
    };
    received.lock().push(Received { head, body });
    match does {
        Does::Answers(answer) => stream.write_all(answer.as_bytes()),
        Does::Large(status, size) => {
            write!(stream, "HTTP/1.1 {status} Status\r\ncontent-length: {size}\r\n\r\n")?;
            stream.write_all(&vec![b'x'; size])
        }
        Does::Endless(status) => {
            write!(stream, "HTTP/1.1 {status} Status\r\ntransfer-encoding: chunked\r\n\r\n")?;
            // Until the client has gone.
            loop {
                stream.write_all(b"1\r\nx\r\n")?;
                stream.flush()?;
            }
        }
        Does::Stalls(status) => {
            write!(stream, "HTTP/1.1 {status} Status\r\ncontent-length: 10\r\n\r\n")?;
            read_more(&mut stream).map(|_| ())
        }
        Does::Hangs => read_more(&mut stream).map(|_| ()),
        Does::Closes => Ok(()),
    }
}
