//! As much of HTTP/1.1 as a proxy needs to tell one call of S3 from the next.

use std::io::{BufRead, Read as _, Result};

/// The kinds of calls of S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    /// Writes an object.
    Put,
    /// Writes an object if there is none.
    Create,
    /// Copies an object.
    Copy,
    /// Begins an upload.
    Begin,
    /// Sends a part of it.
    Part,
    /// Makes an object of it.
    Complete,
    /// Throws it away.
    Abort,
    /// Reads an object.
    Get,
    /// Looks at one.
    Head,
    /// Lists objects.
    List,
    /// Removes objects.
    Delete,
}

/// The first lines of a request or an answer.
#[derive(Debug)]
pub(crate) struct Head {
    text: String,
}

/// A request or an answer, with its body as it came.
#[derive(Debug)]
pub(crate) struct Message {
    head: Head,
    /// The bytes after the head, with the sizes of chunks.
    pub(crate) body: Vec<u8>,
}

/// Reads the first lines; `None` when nothing more comes.
pub(crate) fn read_head(from: &mut impl BufRead) -> Result<Option<Head>> {
    let mut text = String::new();
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        text.push_str(&line);
        if line.trim_end().is_empty() {
            return Ok(Some(Head { text }));
        }
    }
}

impl Head {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.text.lines().skip(1);
        let mut fields = lines.filter_map(|line| line.split_once(':'));
        let found = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim())
    }

    /// What a request asks for.
    pub(crate) fn call(&self) -> Call {
        let mut words = self.text.split_whitespace();
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let has = |name: &str| {
            let mut fields = query.split('&');
            fields.any(|field| field.split('=').next() == Some(name))
        };
        match method {
            "PUT" if has("partNumber") => Call::Part,
            "PUT" if self.header("if-none-match").is_some() => Call::Create,
            "PUT" if self.header("x-amz-copy-source").is_some() => Call::Copy,
            "PUT" => Call::Put,
            "POST" if has("uploads") => Call::Begin,
            "POST" if has("uploadId") => Call::Complete,
            "POST" if has("delete") => Call::Delete,
            "DELETE" if has("uploadId") => Call::Abort,
            "DELETE" => Call::Delete,
            "HEAD" => Call::Head,
            "GET" if has("list-type") => Call::List,
            "GET" => Call::Get,
            other => panic!("an unknown call: {other} {target}"),
        }
    }

    /// Whether an answer only says that another one comes.
    pub(crate) fn is_interim(&self) -> bool {
        self.text.starts_with("HTTP/1.1 1")
    }

    /// Reads what follows; `headless` is an answer that only tells of a body.
    pub(crate) fn with_body(self, from: &mut impl BufRead, headless: bool) -> Result<Message> {
        let chunked = self.header("transfer-encoding");
        let length = self.header("content-length");
        let length: Option<u64> = length.map(|length| length.parse().unwrap());
        let is_answer = self.text.starts_with("HTTP/");
        let status = self.text.split_whitespace().nth(1).unwrap_or_default();
        let empty = headless || is_answer && ["204", "304"].contains(&status);
        let mut body = Vec::new();
        match (chunked, length) {
            _ if empty => {}
            (Some("chunked"), _) => read_chunks(from, &mut body)?,
            (_, Some(length)) => {
                from.take(length).read_to_end(&mut body)?;
            }
            // Such an answer ends with its connection.
            _ if is_answer => drop(from.read_to_end(&mut body)?),
            _ => {}
        }
        Ok(Message { head: self, body })
    }
}

impl Message {
    /// As it came.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.head.text.as_bytes(), &self.body].concat()
    }

    /// Whether nothing comes after it on its connection.
    pub(crate) fn closes(&self) -> bool {
        let said = self.head.header("connection");
        said.is_some_and(|said| said.eq_ignore_ascii_case("close"))
    }
}

fn read_chunks(from: &mut impl BufRead, body: &mut Vec<u8>) -> Result<()> {
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        body.extend_from_slice(line.as_bytes());
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| std::io::ErrorKind::InvalidData)?;
        // The chunk's own line end; after the last one, the end of the body.
        from.take(size + 2).read_to_end(body)?;
        if size == 0 {
            return Ok(());
        }
    }
}
