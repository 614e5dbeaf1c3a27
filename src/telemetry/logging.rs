//! Logs to stderr: text for people, JSON for Google Cloud Logging and its like.
//!
//! A field that holds [`Serialized`] becomes structure in the JSON format, without the `json.` that its name begins
//! with: the whole answer to a push is one field `push`.

use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal as _};

use jiff::Timestamp;
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::Serialized;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, with Google Cloud's `severity`.
    Json,
}

/// Sends logs to stderr from now on; `directives` say what of ours (`pushroll=info`). A second call changes nothing.
pub fn init(format: LogFormat, directives: &str) {
    // kube logs every failed call as an error. The code that made the call logs it once, and with more context.
    let filter = EnvFilter::new(format!("warn,kube_client=off,{directives}"));
    let builder = tracing_subscriber::fmt().with_writer(io::stderr).with_env_filter(filter);
    let _ = match format {
        LogFormat::Text => builder.with_target(false).with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.event_format(JsonLine).try_init(),
    };
}

struct JsonLine;

/// Members that every line has; a field of an event does not get their names.
const TIME: &str = "time";
const SEVERITY: &str = "severity";
const TARGET: &str = "target";

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        write_line(writer, Timestamp::now(), event)
    }
}

fn write_line(mut line: impl fmt::Write, time: Timestamp, event: &Event<'_>) -> fmt::Result {
    let metadata = event.metadata();
    write!(line, "{{\"{TIME}\":\"{time}\",\"{SEVERITY}\":\"{}\"", severity(*metadata.level()))?;
    let mut members = Members { line, written: Ok(()) };
    event.record(&mut members);
    members.member(TARGET, metadata.target());
    members.written?;
    members.line.write_str("}\n")
}

/// Google Cloud's `LogSeverity` names.
fn severity(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        Level::DEBUG | Level::TRACE => "DEBUG",
    }
}

/// Writes members of an object, each after a comma.
struct Members<W> {
    line: W,
    written: fmt::Result,
}

impl<W: fmt::Write> Members<W> {
    fn member(&mut self, name: &str, value: impl Serialize) {
        self.write(name, |line| value.serialize(&mut serde_json::Serializer::new(Utf8(line))).map_err(|_| fmt::Error));
    }

    fn field(&mut self, field: &Field, value: impl Serialize) {
        if ![TIME, SEVERITY, TARGET].contains(&field.name()) {
            self.member(field.name(), value);
        }
    }

    fn write(&mut self, name: &str, value: impl FnOnce(&mut W) -> fmt::Result) {
        if self.written.is_ok() {
            // Names are identifiers of ours: nothing in them is to be escaped.
            self.written = write!(self.line, ",\"{name}\":").and_then(|()| value(&mut self.line));
        }
    }
}

impl<W: fmt::Write> Visit for Members<W> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.field(field, Text(format_args!("{value:?}")));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        match value.downcast_ref::<Serialized>() {
            Some(json) => {
                let name = field.name().strip_prefix("json.").unwrap_or(field.name());
                self.write(name, |line| line.write_str(json.as_str()));
            }
            None => self.field(field, Text(format_args!("{value}"))),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.field(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, value);
    }
}

/// A JSON string, escaped as it is formatted.
struct Text<'a>(fmt::Arguments<'a>);

impl Serialize for Text<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// What serde_json writes, as text.
struct Utf8<W>(W);

impl<W: fmt::Write> io::Write for Utf8<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.write_str(text).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing::span;

    use super::*;

    /// Keeps the lines of all events.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<String>>);

    impl Subscriber for Lines {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &Event<'_>) {
            write_line(&mut *self.0.lock().unwrap(), Timestamp::UNIX_EPOCH, event).unwrap();
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    #[test]
    fn a_line_is_one_json_object_whatever_is_in_it() {
        let wild = "\"quoted\"\\ \n\r\t\u{0}\u{1b}[31m \u{7f}\u{2028} \u{fc}\u{1f600}";
        let push = Serialized::of(&json!({"text": wild, "list": [1, null]}));
        let lines = Lines::default();
        tracing::subscriber::with_default(lines.clone(), || {
            let error: &(dyn Error + 'static) = &io::Error::other(wild);
            let structured: &(dyn Error + 'static) = &push;
            tracing::warn!(json.push = structured, json.text = "{", error, text = wild, debug = ?wild, "{wild}");
            tracing::info!(
                nan = f64::NAN,
                float = 0.25,
                least = i64::MIN,
                most = u64::MAX,
                yes = true,
                none = None::<u8>
            );
            tracing::debug!(time = 1, severity = "2", target = "3", other = 4, "message");
        });
        let text = lines.0.lock().unwrap().clone();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let always = |severity: &str, mut line: Value| {
            line["time"] = json!("1970-01-01T00:00:00Z");
            line["severity"] = json!(severity);
            line["target"] = json!(module_path!());
            line
        };
        let debug = format!("{wild:?}");
        let first = json!({"push": {"text": wild, "list": [1, null]}, "json.text": "{", "error": wild, "text": wild, "debug": debug, "message": wild});
        let second = json!({"nan": null, "float": 0.25, "least": i64::MIN, "most": u64::MAX, "yes": true});
        let third = json!({"other": 4, "message": "message"});
        assert_eq!(lines, [always("WARNING", first), always("INFO", second), always("DEBUG", third)]);
    }

    #[test]
    fn in_a_log_for_people_it_is_quoted() {
        let push = Serialized::of(&json!({"text": "\u{1b}\n"}));
        assert_eq!(push.to_string(), format!("{:?}", r#"{"text":"\u001b\n"}"#));
    }
}
