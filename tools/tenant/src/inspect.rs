//! `attestry inspect …`: what a file says, in words or JSON; nothing is judged or fetched.

mod boot_log;
mod certificate;
mod entry;
mod ima;
mod quote;

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use serde_json::Value;

use crate::{
    cli::{InspectArguments, Inspected},
    failure::Failure,
    output::outln,
};

/// Largest file that is inspected: a measurement list of a million entries has some 150 MiB.
const FILE_BYTES_MAX: u64 = 256 << 20;

pub(crate) fn run(arguments: &InspectArguments) -> Result<(), Failure> {
    let bytes = read(&arguments.file)?;
    let value = match arguments.what {
        Inspected::BootLog => boot_log::inspect(&bytes)?,
        Inspected::EkCert => certificate::inspect(&bytes)?,
        Inspected::Entry => entry::inspect(&bytes)?,
        Inspected::Ima => ima::inspect(&bytes)?,
        Inspected::Quote => quote::inspect(&bytes)?,
    };
    if arguments.json.json {
        outln!("{value}");
    } else {
        print_text(&value, 0);
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| Failure::system(format_args!("read {}", path.display()), error);
    let source: Box<dyn Read> =
        if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(path).map_err(failed)?) };
    let mut bytes = Vec::new();
    source.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Failure::new(format!("{} has more than {FILE_BYTES_MAX} bytes", path.display())));
    }
    Ok(bytes)
}

/// One `name: value` a line, nested things indented.
fn print_text(value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                print_member(&format!("{indent}{name}"), member, depth);
            }
        }
        Value::Array(items) => {
            for item in items {
                print_member(&format!("{indent}-"), item, depth);
            }
        }
        other => outln!("{indent}{}", plain(other)),
    }
}

fn print_member(label: &str, value: &Value, depth: usize) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            outln!("{label}:");
            print_text(value, depth + 1);
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            outln!("{label}:");
            print_text(value, depth + 1);
        }
        Value::Array(items) => outln!("{label}: {}", items.iter().map(plain).collect::<Vec<_>>().join(", ")),
        other => outln!("{label}: {}", plain(other)),
    }
}

/// A leaf's text without what could steer a terminal.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect(),
        other => other.to_string(),
    }
}

/// Milliseconds since 1970 as RFC 3339, beside the number itself.
fn time(ms: u64) -> Value {
    let text = i64::try_from(ms)
        .ok()
        .and_then(chrono::DateTime::from_timestamp_millis)
        .map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true));
    text.map_or_else(|| Value::from(ms), Value::from)
}
