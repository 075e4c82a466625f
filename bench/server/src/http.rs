//! A minimal HTTP client on one persistent connection.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, Result, ensure};

/// A connection.
pub(crate) struct Http {
    stream: BufReader<TcpStream>,
    pub(crate) user: String,
    /// JSON of the header `Rejoin-Subscriptions`; empty for none.
    pub(crate) subscriptions: String,
    line: String,
    body: Vec<u8>,
}

impl Http {
    pub(crate) fn to(address: &str, user: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let stream = BufReader::with_capacity(64 * 1024, stream);
        let (line, body) = (String::new(), Vec::new());
        let (user, subscriptions) = (user.to_owned(), String::new());
        Ok(Self { stream, user, subscriptions, line, body })
    }

    /// Posts JSON; returns the bytes of the response. Any status but 200 is an error.
    pub(crate) fn post(&mut self, path: &str, body: &str) -> Result<&[u8]> {
        let subscriptions = match self.subscriptions.as_str() {
            "" => String::new(),
            json => format!("Rejoin-Subscriptions: {json}\r\n"),
        };
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nX-User-ID: {}\r\nRejoin-Protocol: 1\r\n{subscriptions}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.user,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status = self.head()?.to_owned();
        let mut length = None;
        loop {
            let line = self.head()?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse::<usize>()?);
            }
        }
        self.body.clear();
        match length {
            Some(length) => self.take(length)?,
            None => self.take_chunks()?,
        }
        let body = || String::from_utf8_lossy(&self.body).into_owned();
        ensure!(status.contains(" 200 "), "{path}: {status}: {}", body());
        Ok(&self.body)
    }

    /// Appends this many bytes to the body.
    fn take(&mut self, length: usize) -> Result<()> {
        let had = self.body.len();
        self.body.resize(had + length, 0);
        Ok(self.stream.read_exact(&mut self.body[had..])?)
    }

    /// A body without a length, which is sent in chunks.
    fn take_chunks(&mut self) -> Result<()> {
        loop {
            let size = usize::from_str_radix(self.head()?, 16).context("the size of a chunk")?;
            self.take(size)?;
            self.head()?;
            if size == 0 {
                return Ok(());
            }
        }
    }

    fn head(&mut self) -> Result<&str> {
        self.line.clear();
        let read = self.stream.read_line(&mut self.line)?;
        ensure!(read > 0, "the server hung up");
        Ok(self.line.trim_end())
    }
}
