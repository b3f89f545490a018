//! Bodies on their way through: streamed, never gathered, with a limit on silence.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::adapters::front_door::counters::{Attempt, Visit};

/// Why a body broke off.
#[derive(Debug)]
pub(super) enum BodyError {
    /// The side that sends it failed.
    Broken(hyper::Error),
    /// The side that sends it was silent for too long.
    Silent(Duration),
    /// Another try has taken the body over.
    Superseded,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(_) => f.write_str("the body broke off"),
            Self::Silent(limit) => write!(f, "nothing came for {} s", limit.as_secs_f64()),
            Self::Superseded => f.write_str("another try has taken the body over"),
        }
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Self::Broken(source) = self { Some(source) } else { None }
    }
}

/// An incoming body that gives up when nothing comes for `limit`. The clock runs only while someone
/// waits for the next piece, so a slow receiver is not blamed on the sender.
#[derive(Debug)]
struct Watched {
    inner: Incoming,
    limit: Duration,
    alarm: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Watched {
    fn new(inner: Incoming, limit: Duration) -> Self {
        Self { inner, limit, alarm: None, waiting: false }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            self.waiting = false;
            return Poll::Ready(frame.map(|result| result.map_err(BodyError::Broken)));
        }
        let deadline = || Instant::now() + self.limit;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline())));
        if !self.waiting {
            alarm.as_mut().reset(deadline());
            self.waiting = true;
        }
        ready!(alarm.as_mut().poll(cx));
        Poll::Ready(Some(Err(BodyError::Silent(self.limit))))
    }
}

/// A client's body, kept here so that another instance can have it while none has read of it.
#[derive(Debug)]
struct Slot {
    body: Watched,
    /// The try that may read.
    turn: u32,
    touched: bool,
    client_failed: bool,
    /// When a piece was last handed on.
    moved_at: Instant,
}

/// A client's body across tries.
#[derive(Debug, Clone)]
pub(super) struct ClientBody {
    started: Instant,
    /// Absent for an empty body.
    slot: Option<Arc<Mutex<Slot>>>,
}

impl ClientBody {
    /// Keeps a body; an empty one costs nothing.
    pub(super) fn new(body: Incoming, limit: Duration) -> Self {
        if body.is_end_stream() {
            return Self { started: Instant::now(), slot: None };
        }
        let slot = Slot {
            body: Watched::new(body, limit),
            turn: 0,
            touched: false,
            client_failed: false,
            moved_at: Instant::now(),
        };
        Self { started: Instant::now(), slot: Some(Arc::new(Mutex::new(slot))) }
    }

    fn with<T>(&self, read: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        self.slot.as_ref().map(|slot| read(&mut slot.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Whether anything of it has been read.
    pub(super) fn touched(&self) -> bool {
        self.with(|slot| slot.touched).unwrap_or(false)
    }

    /// Whether the client broke it off.
    pub(super) fn client_failed(&self) -> bool {
        self.with(|slot| slot.client_failed).unwrap_or(false)
    }

    /// Since when the client has owed nothing and no piece has been taken; absent while the client is
    /// waited for.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        self.with(|slot| (!slot.body.waiting).then_some(slot.moved_at)).unwrap_or(Some(self.started))
    }

    /// The body for the next try; those of tries before read nothing any more.
    pub(super) fn next_try(&self) -> RequestBody {
        let turn = self.with(|slot| {
            slot.turn += 1;
            slot.turn
        });
        RequestBody { client: self.clone(), turn: turn.unwrap_or(0) }
    }
}

/// A client's body as one try sends it.
#[derive(Debug)]
pub(super) struct RequestBody {
    client: ClientBody,
    turn: u32,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = self.client.with(|slot| {
            if slot.turn != self.turn {
                return Poll::Ready(Some(Err(BodyError::Superseded)));
            }
            let polled = slot.body.poll_next(cx);
            if polled.is_ready() {
                slot.touched = true;
                slot.moved_at = Instant::now();
            }
            slot.client_failed |= matches!(polled, Poll::Ready(Some(Err(_))));
            polled
        });
        polled.unwrap_or(Poll::Ready(None))
    }

    fn is_end_stream(&self) -> bool {
        self.client.with(|slot| slot.body.inner.is_end_stream()).unwrap_or(true)
    }

    fn size_hint(&self) -> SizeHint {
        self.client.with(|slot| slot.body.inner.size_hint()).unwrap_or_else(|| SizeHint::with_exact(0))
    }
}

/// What the front door answers with.
#[derive(Debug)]
pub(super) enum AnswerBody {
    /// A text of its own.
    Own {
        /// The text.
        text: Full<Bytes>,
        /// Ends with the body.
        _visit: Option<Visit>,
    },
    /// An instance's answer.
    Passed(Box<PassedBody>),
}

/// An instance's answer; the request counts as answered when this is dropped.
#[derive(Debug)]
pub(super) struct PassedBody {
    body: Watched,
    attempt: Attempt,
    visit: Visit,
}

impl AnswerBody {
    /// A text of the front door's own.
    pub(super) fn own(text: String, visit: Visit) -> Self {
        Self::Own { text: Full::new(Bytes::from(text)), _visit: Some(visit) }
    }

    /// Nothing, for a request that goes on elsewhere.
    pub(super) fn empty() -> Self {
        Self::Own { text: Full::default(), _visit: None }
    }

    /// What an instance answers.
    pub(super) fn passed(body: Incoming, limit: Duration, attempt: Attempt, visit: Visit) -> Self {
        Self::Passed(Box::new(PassedBody { body: Watched::new(body, limit), attempt, visit }))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Own { text, .. } => {
                Pin::new(text).poll_frame(cx).map(|frame| frame.map(|result| result.map_err(|e| match e {})))
            }
            Self::Passed(passed) => {
                let polled = passed.body.poll_next(cx);
                if let Poll::Ready(Some(Err(_))) = &polled {
                    passed.attempt.error = true;
                    passed.visit.error = true;
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own { text, .. } => text.is_end_stream(),
            Self::Passed(passed) => passed.body.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own { text, .. } => text.size_hint(),
            Self::Passed(passed) => passed.body.inner.size_hint(),
        }
    }
}
