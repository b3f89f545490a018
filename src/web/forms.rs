//! Forms that ask for a change: each says what, why, and for how long. Not here: what is done with them
//! (`acts`).

use maud::{Markup, html};

use crate::api::answers::ActionDto;
use crate::web::parts::{away, time};
use crate::web::visitor::Visitor;

/// For how long something may be in force: seconds and words.
const SPANS: [(u32, &str); 8] = [
    (60, "1 minute"),
    (600, "10 minutes"),
    (1_800, "30 minutes"),
    (3_600, "1 hour"),
    (7_200, "2 hours"),
    (28_800, "8 hours"),
    (86_400, "1 day"),
    (604_800, "1 week"),
];

/// A change that can be asked for.
pub(super) struct Act<'a> {
    /// The word for `acts`.
    pub(super) does: &'a str,
    /// What is changed.
    pub(super) subject: &'a str,
    /// The button that opens the form, and the one that sends it.
    pub(super) button: &'a str,
    /// What it means, in a sentence.
    pub(super) words: &'a str,
    /// Whether it may end by itself.
    pub(super) lasting: bool,
}

/// The form of a change, folded behind its button. `fields` are its own.
pub(super) fn act(visitor: &Visitor, act: &Act<'_>, fields: &Markup) -> Markup {
    let id = format!("{}-{}", act.does, act.subject.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
    html! {
        details.act #(id) {
            summary { (act.button) }
            form method="post" action="/act" {
                @if !act.words.is_empty() { p { (act.words) } }
                (hidden(visitor, act.does, act.subject))
                (fields)
                @if act.lasting { (how_long("until it is undone")) }
                (why())
                button type="submit" { (act.button) }
            }
        }
    }
}

/// Asks for how long.
pub(super) fn how_long(never: &str) -> Markup {
    html! {
        label { "For how long"
            select name="for" {
                option value="" { (never) }
                @for (seconds, words) in SPANS { option value=(seconds) { (words) } }
            }
        }
    }
}

/// Asks why.
pub(super) fn why() -> Markup {
    html! { label { "Why" input name="message" required maxlength="500" placeholder="for the record"; } }
}

/// What every form carries.
pub(super) fn hidden(visitor: &Visitor, does: &str, subject: &str) -> Markup {
    html! {
        input type="hidden" name="csrf" value=(visitor.csrf);
        input type="hidden" name="next" value=(visitor.path);
        input type="hidden" name="do" value=(does);
        input type="hidden" name="subject" value=(subject);
    }
}

/// A change that needs nothing but its reason.
pub(super) fn asks(visitor: &Visitor, (does, subject): (&str, &str), button: &str, words: &str) -> Markup {
    act(visitor, &Act { does, subject, button, words, lasting: false }, &html! {})
}

/// What is in force by hand: who did it and why, until when, and how it is undone.
pub(super) fn in_force(visitor: &Visitor, actions: &[&ActionDto], may: bool) -> Markup {
    html! {
        @for action in actions {
            div.banner {
                div {
                    b { (words(action)) } @if let Some(size) = &action.size { " (" (size) ")" } " by " (action.by) ", " (time(visitor, action.at))
                    @if !action.message.is_empty() { ": “" (action.message) "”" }
                    ". "
                    @if action.kind == "schedule" {
                        @match action.due {
                            Some(due) => { "It is applied " (away(visitor, due)) ", at " (time(visitor, due)) "." }
                            None => "It is applied with the next rollout.",
                        }
                    } @else if let Some(until) = action.until {
                        "Ends " (away(visitor, until)) ", at " (time(visitor, until)) "."
                    } @else { "Until it is undone." }
                }
                @if may { (asks(visitor, ("undo", &format!("{}/{}", action.kind, action.subject)), "Undo", then(action))) }
            }
        }
    }
}

/// What is once it is undone.
fn then(action: &ActionDto) -> &'static str {
    match action.kind.as_str() {
        "scale" => "It goes back to the count before.",
        "pause" => "Its tasks are wanted again.",
        "bounce" => "Instances that were not replaced yet stay.",
        "drain" => "The node takes tasks again.",
        "dismiss" => "The advice is shown again.",
        "schedule" => "The advice is not applied then, and is open again.",
        "freeze" => "Changes of this kind go on.",
        "size-policy" => "Its sizes come from the policy of all others again.",
        _ => "",
    }
}

fn words(action: &ActionDto) -> String {
    match (action.kind.as_str(), action.count_before) {
        ("scale", Some(before)) => format!("Scaled by hand (was {before})"),
        ("scale", None) => "Scaled by hand".to_owned(),
        ("pause", _) => "Paused".to_owned(),
        ("bounce", _) => "Being restarted".to_owned(),
        ("drain", _) => "Being drained".to_owned(),
        ("dismiss", _) => "Advice is dismissed".to_owned(),
        ("schedule", _) => "Advice is applied later".to_owned(),
        ("size-policy", _) => {
            format!(
                "Sizes of {} come from policy {}",
                action.subject,
                action.policy.as_deref().unwrap_or("?")
            )
        }
        ("freeze", _) => format!("Frozen: {}", action.subject),
        (other, _) => other.to_owned(),
    }
}
