//! A receiver of alarms.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use serde_json::Value;

/// Listens on a free port; each alarm's message comes out of the channel.
pub(crate) fn listen() -> (String, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/alarm", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if let Some(message) = receive(stream)
                && sender.send(message).is_err()
            {
                return;
            }
        }
    });
    (url, receiver)
}

fn receive(mut stream: TcpStream) -> Option<Value> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    let body = loop {
        let text = String::from_utf8_lossy(&received).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok())?;
            if body.len() >= length {
                break body.to_owned();
            }
        }
        let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
        received.extend(buffer.iter().take(read));
    };
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok()?;
    let envelope: Value = serde_json::from_str(&body).ok()?;
    serde_json::from_str(envelope.get("msg")?.as_str()?).ok()
}
