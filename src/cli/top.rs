//! `loadline top`: who uses most, refreshed in place on a terminal; one look where there is none.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Read, Write};
use std::time::Duration;

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use anyhow::Context;
use clap::Args;
use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::execute;
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use jiff::SignedDuration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::api::client::{Client, ClientError};
use crate::api::dto::{NodeDto, TaskDto};
use crate::cli::change::duration;
use crate::cli::output::{BAD, DIM, Output, paint, plain, say, say_json};
use crate::cli::top_view::{Shape, SortBy, rows, screen};

/// Rows and characters where no terminal says how many it has.
const ROWS_DEFAULT: usize = 1_000;
const WIDTH_DEFAULT: usize = 120;
/// What Ctrl-C is in raw mode.
const CTRL_C: u8 = 3;

/// `loadline top`
#[derive(Debug, Args)]
pub(super) struct TopArgs {
    /// A row a task instead of a row a workload.
    #[arg(short, long)]
    tasks: bool,
    /// The largest first, of what.
    #[arg(long, value_enum, default_value_t = SortBy::Cpu)]
    by: SortBy,
    /// From one look to the next.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "2s")]
    interval: SignedDuration,
    /// One look, also on a terminal.
    #[arg(long)]
    once: bool,
}

/// What is looked at.
struct Look {
    nodes: Vec<NodeDto>,
    tasks: Vec<TaskDto>,
}

async fn look(client: &Client) -> Result<Look, ClientError> {
    Ok(Look { nodes: client.nodes().await?, tasks: client.tasks(None, false, usize::MAX).await? })
}

pub(super) async fn run(client: &Client, output: Output, args: TopArgs) -> anyhow::Result<()> {
    let shape = Shape { by: args.by, tasks: args.tasks, rows: ROWS_DEFAULT, width: WIDTH_DEFAULT };
    let live = !args.once && io::stdout().is_terminal() && io::stdin().is_terminal();
    // Who starts it in vain is told as by any other command, not on a screen that goes away.
    let first = look(client).await?;
    if output == Output::Json {
        return say_json(&rows(&first.tasks, shape));
    }
    if !live {
        return Ok(say(&screen(&first.nodes, &first.tasks, shape).join("\n"))?);
    }
    let interval = Duration::try_from(args.interval).context("an interval")?;
    let _screen = Screen::open()?;
    refresh(client, first, shape, interval).await
}

/// Looks and draws until a key or a signal ends it.
async fn refresh(client: &Client, first: Look, mut shape: Shape, interval: Duration) -> anyhow::Result<()> {
    let mut keys = keys();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut resized = signal(SignalKind::window_change())?;
    let mut ticks = tokio::time::interval(interval);
    ticks.reset();
    let (mut seen, mut trouble) = (first, None);
    loop {
        draw(&seen, shape, trouble.as_ref())?;
        tokio::select! {
            _ = ticks.tick() => match look(client).await {
                Ok(found) => (seen, trouble) = (found, None),
                Err(error) => trouble = Some(error),
            },
            key = keys.recv() => match key {
                Some(b'c') => shape.by = SortBy::Cpu,
                Some(b'm') => shape.by = SortBy::Memory,
                Some(b't') => shape.tasks = !shape.tasks,
                Some(b'q' | CTRL_C) | None => return Ok(()),
                Some(_) => {}
            },
            _ = resized.recv() => {}
            _ = terminate.recv() => return Ok(()),
            _ = hang_up.recv() => return Ok(()),
        }
    }
}

/// Keys as they are pressed, read by a thread that ends with the process.
fn keys() -> UnboundedReceiver<u8> {
    let (sender, receiver) = unbounded_channel();
    std::thread::spawn(move || {
        let mut byte = [0];
        while let Ok(1) = io::stdin().read(&mut byte) {
            if sender.send(byte[0]).is_err() {
                return;
            }
        }
    });
    receiver
}

fn draw(seen: &Look, shape: Shape, trouble: Option<&ClientError>) -> anyhow::Result<()> {
    // Some terminals do not know their own size.
    let (width, height) = size().ok().filter(|(width, height)| *width > 0 && *height > 0).unwrap_or((80, 24));
    let (width, height) = (usize::from(width), usize::from(height));
    let shape = Shape { rows: height.saturating_sub(2), width, ..shape };
    let mut lines = screen(&seen.nodes, &seen.tasks, shape);
    lines.push(match trouble {
        Some(error) => paint(BAD, &plain(&error.to_string()).chars().take(width).collect::<String>()),
        None => paint(DIM, "q quit, c by cpu, m by memory, t tasks or workloads"),
    });
    let mut out = io::stdout().lock();
    let colours = AutoStream::choice(&out) != ColorChoice::Never;
    let mut text = String::new();
    for line in &lines {
        if colours {
            text.push_str(line);
        } else {
            text.push_str(&strip_str(line).to_string());
        }
        // Raw mode: a new line alone does not go back to the first column.
        let _ = write!(text, "{}\r\n", Clear(ClearType::UntilNewLine));
    }
    write!(out, "{}{}{}", MoveTo(0, 0), text.trim_end_matches("\r\n"), Clear(ClearType::FromCursorDown))?;
    Ok(out.flush()?)
}

/// The terminal while it shows a screen of its own; put back when this goes.
struct Screen;

impl Screen {
    fn open() -> anyhow::Result<Self> {
        enable_raw_mode().context("cannot read keys from this terminal; use --once")?;
        let screen = Self;
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // There is nothing left to do about a terminal that does not listen.
        let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}
