//! Tasks as people write them down: a JSON array, or one JSON object a line; checked, completed and put together as what a
//! manager takes, without ever holding all of them in memory.

use std::fmt;
use std::io::{self, BufRead, Read, Seek as _, SeekFrom, Write as _};

use serde::de::{self, DeserializeSeed, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use tempfile::SpooledTempFile;

use super::Error;
use crate::client::Payload;
use crate::limits::{SUBMIT_BYTES, SUBMIT_LINE_BYTES, SUBMIT_MEMORY_BYTES};

/// A task as it is written and as it is sent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Task {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retries: Option<u32>,
}

/// The payload of `submitBatch`, as far as it is put together.
pub(super) struct Tasks<'a> {
    /// What a task is that does not say.
    kind: Option<&'a str>,
    file: SpooledTempFile,
    bytes: u64,
    count: u64,
    /// What is wrong with an element of an array, whose line nobody knows any more when that is found.
    refused: Option<String>,
}

impl<'a> Tasks<'a> {
    /// Reads all tasks of an input; `name` is what people call it.
    ///
    /// # Errors
    /// [`Error::Failure`] that names the line and says what is wrong there.
    pub(super) fn read(input: impl BufRead, name: &str, kind: Option<&'a str>) -> Result<Self, Error> {
        let file = SpooledTempFile::new(SUBMIT_MEMORY_BYTES);
        let mut tasks = Self { kind, file, bytes: 0, count: 0, refused: None };
        tasks.append(br#"{"tasks":["#).map_err(Error::Failure)?;
        tasks.read_all(input).map_err(|wrong| Error::Failure(format!("{name}{wrong}")))?;
        if tasks.count == 0 {
            return Err(Error::Failure(format!("{name} has no tasks")));
        }
        tasks.append(b"]}").map_err(Error::Failure)?;
        Ok(tasks)
    }

    /// What is to be sent.
    ///
    /// # Errors
    /// [`Error::Failure`]: the temporary file cannot be read.
    pub(super) fn payload(mut self) -> Result<Payload, Error> {
        self.file.seek(SeekFrom::Start(0)).map_err(|error| Error::failure(&error))?;
        Ok(Payload::new(self.file, self.bytes))
    }

    fn read_all(&mut self, mut input: impl BufRead) -> Result<(), Wrong> {
        let (first, blank) = first(&mut input)?;
        match first {
            None => Ok(()),
            Some(b'[') => self.read_array(input, blank),
            Some(b'{') => self.read_lines(input, blank),
            Some(_) => Err(Wrong::at(blank + 1, None, "expected a JSON array of tasks, or one JSON object a line")),
        }
    }

    fn read_array(&mut self, input: impl BufRead, blank: usize) -> Result<(), Wrong> {
        let mut deserializer = serde_json::Deserializer::from_reader(input);
        let read = self.deserialize(&mut deserializer).and_then(|()| deserializer.end());
        match (read, self.refused.take()) {
            (Err(_), Some(text)) => Err(Wrong::Task { number: self.count + 1, text }),
            (read, _) => read.map_err(|error| Wrong::of(&error, blank)),
        }
    }

    fn read_lines(&mut self, mut input: impl BufRead, blank: usize) -> Result<(), Wrong> {
        let mut line = Vec::new();
        for number in blank + 1.. {
            line.clear();
            let most = SUBMIT_LINE_BYTES as u64 + 1;
            let read = (&mut input).take(most).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(());
            }
            if line.len() > SUBMIT_LINE_BYTES {
                let text = format!("it is more than {SUBMIT_LINE_BYTES} bytes long; the limit is that");
                return Err(Wrong::at(number, None, text));
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            let task = serde_json::from_slice(&line).map_err(|error| Wrong::of(&error, number - 1))?;
            self.add(task).map_err(|text| Wrong::at(number, None, text))?;
        }
        Ok(())
    }

    /// Completes a task.
    fn add(&mut self, mut task: Task) -> Result<(), String> {
        if task.kind.is_none() {
            task.kind = self.kind.map(str::to_owned);
        }
        if task.kind.is_none() {
            return Err("the task has no `type`; give it one, or all of them one with --type".to_owned());
        }
        let position = self.count + 1;
        task.id.get_or_insert_with(|| format!("t{position}"));
        let mut text = if self.count == 0 { Vec::new() } else { b",".to_vec() };
        serde_json::to_writer(&mut text, &task).map_err(|error| error.to_string())?;
        self.append(&text)?;
        self.count = position;
        Ok(())
    }

    fn append(&mut self, text: &[u8]) -> Result<(), String> {
        self.bytes += text.len() as u64;
        if self.bytes > SUBMIT_BYTES {
            return Err(format!("the tasks are more than {SUBMIT_BYTES} bytes; submit them in several batches"));
        }
        self.file.write_all(text).map_err(|error| format!("a temporary file cannot be written: {error}"))
    }
}

/// The elements of an array, one after the other.
impl<'de> DeserializeSeed<'de> for &mut Tasks<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for &mut Tasks<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of tasks")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut tasks: A) -> Result<(), A::Error> {
        while let Some(task) = tasks.next_element()? {
            if let Err(text) = self.add(task) {
                self.refused = Some(text);
                return Err(de::Error::custom("a task is refused"));
            }
        }
        Ok(())
    }
}

/// What is wrong with an input, and where; it is told behind the input's name.
enum Wrong {
    Place { line: usize, column: Option<usize>, text: String },
    Task { number: u64, text: String },
    Input(io::Error),
}

impl Wrong {
    fn at(line: usize, column: Option<usize>, text: impl Into<String>) -> Self {
        Self::Place { line, column, text: text.into() }
    }

    /// What a reader of JSON found that began behind so many lines.
    fn of(error: &serde_json::Error, lines: usize) -> Self {
        let text = error.to_string();
        // It tells its place itself, counted from where it began.
        let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
        Self::at(lines + error.line().max(1), Some(error.column()), text)
    }
}

impl From<io::Error> for Wrong {
    fn from(error: io::Error) -> Self {
        Self::Input(error)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place { line, column: Some(column), text } => write!(f, ", line {line}, column {column}: {text}"),
            Self::Place { line, column: None, text } => write!(f, ", line {line}: {text}"),
            Self::Task { number, text } => write!(f, ", task {number}: {text}"),
            Self::Input(error) => write!(f, " cannot be read: {error}"),
        }
    }
}

/// The first byte that is no space, which stays in the input, and how many lines are before it.
fn first(input: &mut impl BufRead) -> io::Result<(Option<u8>, usize)> {
    let mut lines = 0;
    loop {
        let Some(byte) = input.fill_buf()?.first().copied() else { return Ok((None, lines)) };
        if !byte.is_ascii_whitespace() {
            return Ok((Some(byte), lines));
        }
        lines += usize::from(byte == b'\n');
        input.consume(1);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(text: &str, kind: Option<&str>) -> Result<(u64, Value), String> {
        let tasks = Tasks::read(text.as_bytes(), "tasks.json", kind).map_err(|error| error.to_string())?;
        let (count, bytes, mut file) = (tasks.count, tasks.bytes, tasks.file);
        file.seek(SeekFrom::Start(0)).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text.len() as u64, bytes);
        Ok((count, serde_json::from_str(&text).unwrap()))
    }

    fn refused(text: &str) -> String {
        read(text, None).expect_err("it is refused")
    }

    #[test]
    fn submit_reads_an_array_or_lines() {
        let whole = json!({"id": "a", "type": "x", "data": {"n": [1.50]}, "priority": -5, "timeout": 10, "retries": 0});
        let wanted = json!({"tasks": [whole, {"id": "b", "type": "y"}]});
        let rest = r#"{"id":"b","type":"y"}"#;
        for text in [
            format!("[{whole},{rest}]"),
            format!("\n\n [\n{whole},\n\n{rest}\n]\n"),
            format!("{whole}\n{rest}\n"),
            format!("\r\n{whole}\r\n\r\n  {rest}"),
        ] {
            assert_eq!(read(&text, None), Ok((2, wanted.clone())), "{text}");
        }
    }

    #[test]
    fn submit_fills_in_ids_and_types() {
        let text = r#"{"data":1}
            {"id":"own","type":"y"}
            {}"#;
        let wanted = json!({"tasks": [{"id": "t1", "type": "x", "data": 1}, {"id": "own", "type": "y"},
            {"id": "t3", "type": "x"}]});
        assert_eq!(read(text, Some("x")), Ok((3, wanted)));
    }

    #[test]
    fn submit_names_the_line_of_the_first_that_is_wrong() {
        let good = r#"{"type":"x"}"#;
        let missing = "the task has no `type`; give it one, or all of them one with --type";
        for (text, error) in [
            (format!("{good}\n\n{{}}"), format!("tasks.json, line 3: {missing}")),
            (format!("\n{good}\n{{\"typ\":\"x\"}}"), "tasks.json, line 3, column 6: unknown field `typ`".to_owned()),
            (format!("{good}\n{good} {good}"), "tasks.json, line 2, column 14: trailing characters".to_owned()),
            (format!("{good}\n[1]"), "tasks.json, line 2, column 2: invalid type: integer `1`".to_owned()),
            (format!("{good}\n{{\"type\":"), "tasks.json, line 2, column 8: EOF while parsing".to_owned()),
            (format!("[\n{good},\n{{}}\n]"), format!("tasks.json, task 2: {missing}")),
            (
                format!("\n[{good},\n\n{{\"priority\":\"high\"}}]"),
                "tasks.json, line 4, column 18: invalid type".to_owned(),
            ),
            (format!("[{good}"), "tasks.json, line 1, column 13: EOF while parsing a list".to_owned()),
            (format!("[{good}]\n]"), "tasks.json, line 2, column 1: trailing characters".to_owned()),
            ("\n tasks".to_owned(), "tasks.json, line 2: expected a JSON array of tasks".to_owned()),
        ] {
            let found = refused(&text);
            assert!(found.starts_with(&error), "{text}\n{found}\n{error}");
        }
    }

    #[test]
    fn submit_refuses_nothing_and_too_much() {
        for text in ["", "\n \n", "[]"] {
            assert_eq!(refused(text), "tasks.json has no tasks");
        }
        let long = format!(r#"{{"type":"x"}}{}{{"data":"{}"}}"#, "\n", "x".repeat(SUBMIT_LINE_BYTES));
        assert_eq!(refused(&long), "tasks.json, line 2: it is more than 4194304 bytes long; the limit is that");
        // More than is sent at once, of lines that are all fine.
        let line = format!("{{\"type\":\"x\",\"data\":\"{}\"}}\n", "x".repeat(1 << 20));
        let many = line.as_bytes().repeat(4);
        let endless = std::iter::repeat_n(many, 65).fold(Box::new(io::empty()) as Box<dyn BufRead>, |input, more| {
            Box::new(input.chain(io::Cursor::new(more)))
        });
        let error = Tasks::read(endless, "-", None).err().expect("it is too much").to_string();
        assert_eq!(error, "-, line 256: the tasks are more than 268435456 bytes; submit them in several batches");
    }
}
