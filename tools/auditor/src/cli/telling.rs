//! How alarms reach the operator: lines on stdout, and a command of his.

use std::{
    io::{self, Write},
    process::{Command, Stdio},
    time::Duration,
};

use super::{Failure, failed, print};
use crate::{
    clock,
    monitor::{Alarm, Monitor},
};

/// Longest time for a command about one alarm: a mail server that is slow answers within it.
const COMMAND_WAIT: Duration = Duration::from_secs(60);
/// How often it is looked at meanwhile.
const COMMAND_LOOK: Duration = Duration::from_millis(20);

/// Who is told of alarms.
pub(super) struct Telling<'a> {
    command: Option<&'a str>,
    /// The number after the last alarm that was printed: a command that fails is tried again, a line is not.
    printed: u64,
}

impl<'a> Telling<'a> {
    pub(super) fn new(command: Option<&'a str>) -> Self {
        Self { command, printed: 0 }
    }

    /// Tells what was not told, in order; whether all of it was.
    pub(super) fn tell(&mut self, monitor: &mut Monitor<'_>) -> Result<bool, Failure> {
        while let Some(alarm) = monitor.untold() {
            let number = alarm.number;
            let line = serde_json::to_string(alarm).map_err(|error| failed(&error))? + "\n";
            if number >= self.printed {
                print(&line);
                self.printed = number + 1;
            }
            if let Some(command) = self.command
                && let Err(problem) = run(command, alarm, &line)
            {
                let _ = writeln!(io::stderr(), "attestry-audit: alarm {number} is told again later: {problem}");
                return Ok(false);
            }
            monitor.told().map_err(|error| failed(&error))?;
        }
        Ok(true)
    }
}

/// Runs a command with the alarm's line on its stdin, and its parts in the environment.
fn run(command: &str, alarm: &Alarm, line: &str) -> Result<(), String> {
    let says = |what: &'static str| move |error: io::Error| format!("{what} {command:?}: {error}");
    let mut child = Command::new("sh")
        .args(["-c", command])
        .env("ATTESTRY_ALARM_NUMBER", alarm.number.to_string())
        .env("ATTESTRY_ALARM_CHECK", &alarm.check)
        .env("ATTESTRY_ALARM_FALSE", alarm.is_false.to_string())
        .env("ATTESTRY_ALARM_OVER", alarm.over.to_string())
        .env("ATTESTRY_ALARM_TEXT", &alarm.text)
        .stdin(Stdio::piped())
        // Lines on stdout are alarms and nothing else.
        .stdout(Stdio::null())
        .spawn()
        .map_err(says("cannot start"))?;
    // A command that does not read it is none the worse.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(line.as_bytes()));
    let begun = clock::moment();
    loop {
        match child.try_wait().map_err(says("cannot wait for"))? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("{command:?} ended with {status}")),
            None if begun.elapsed() > COMMAND_WAIT => {
                let _ = child.kill().and_then(|()| child.wait());
                return Err(format!("{command:?} was not done within {} s", COMMAND_WAIT.as_secs()));
            }
            None => std::thread::sleep(COMMAND_LOOK),
        }
    }
}
